//! The listener for workers that demand TLS: its four options, and what is wrong with its files.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{exit::Failure, serving::listen};
use crate::frontdoor::{Tls, TlsError, TlsListener};

/// Where to serve gRPC with TLS, and with which files; all four or none.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// Where to serve gRPC with TLS too; clients must show a certificate of --tls-client-ca
    ///
    /// For `python -m cerebelum.worker`. What is served on --grpc stays as it is, without TLS.
    /// `lazarus dev-certs DIR` makes all the files.
    #[arg(
        long,
        env = "LAZARUS_GRPC_TLS",
        value_name = "ADDRESS",
        requires_all = ["tls_cert", "tls_key", "tls_client_ca"]
    )]
    grpc_tls: Option<String>,
    /// The server's certificate in PEM form, any certificates between it and its CA after it
    #[arg(long, env = "LAZARUS_TLS_CERT", value_name = "FILE", requires = "grpc_tls")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate in PEM form, not encrypted
    #[arg(long, env = "LAZARUS_TLS_KEY", value_name = "FILE", requires = "grpc_tls")]
    tls_key: Option<PathBuf>,
    /// The CA, or several, whose client certificates are accepted, in PEM form
    #[arg(long, env = "LAZARUS_TLS_CLIENT_CA", value_name = "FILE", requires = "grpc_tls")]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Checks the files, then listens; none where nobody asked for TLS.
    pub(super) async fn listen(&self) -> Result<Option<TlsListener>, Failure> {
        let (Some(at), Some(cert), Some(key), Some(client_ca)) =
            (&self.grpc_tls, &self.tls_cert, &self.tls_key, &self.tls_client_ca)
        else {
            return Ok(None);
        };
        let files = Files {
            cert: File { flag: "--tls-cert", path: cert },
            key: File { flag: "--tls-key", path: key },
            client_ca: File { flag: "--tls-client-ca", path: client_ca },
        };
        let tls = files.load()?;
        Ok(Some(TlsListener { listener: listen(at, "--grpc-tls").await?, tls }))
    }
}

/// A file, and the flag that names it.
#[derive(Clone, Copy, Debug)]
struct File<'a> {
    flag: &'static str,
    path: &'a PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Files<'a> {
    cert: File<'a>,
    key: File<'a>,
    client_ca: File<'a>,
}

impl File<'_> {
    fn read(self) -> Result<Vec<u8>, Failure> {
        fs::read(self.path).map_err(|error| self.unfit(error))
    }

    fn unfit(self, problem: impl std::fmt::Display) -> Failure {
        Failure::usage(
            format_args!("{} {}: {problem}", self.flag, self.path.display()),
            "name a file in PEM form that this user may read; `lazarus dev-certs DIR` makes a set",
        )
    }
}

impl Files<'_> {
    fn load(self) -> Result<Tls, Failure> {
        let (cert, key, client_ca) = (self.cert.read()?, self.key.read()?, self.client_ca.read()?);
        Tls::of_pem(&cert, &key, &client_ca).map_err(|error| self.unfit(&error))
    }

    fn unfit(self, error: &TlsError) -> Failure {
        match error {
            TlsError::Certificate(problem) => self.cert.unfit(problem),
            TlsError::Key(problem) => self.key.unfit(problem),
            TlsError::ClientCa(problem) => self.client_ca.unfit(problem),
            TlsError::Mismatch => self.key.unfit(format_args!(
                "the key does not belong to the certificate in {}",
                self.cert.path.display()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{Parser as _, error::ErrorKind};

    use super::*;
    use crate::cli::{dev_certs, exit::Exit};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        tls: TlsArgs,
    }

    const FILES: [(&str, &str); 3] =
        [("--tls-cert", "server.crt"), ("--tls-key", "server.key"), ("--tls-client-ca", "ca.crt")];

    /// The arguments with the usual files of `folder`, those of `instead` in their place.
    fn args(folder: &Path, instead: &[(&str, &str)]) -> TlsArgs {
        let mut words = vec!["x".to_owned(), "--grpc-tls".to_owned(), "127.0.0.1:0".to_owned()];
        for (flag, usual) in FILES {
            let other = instead.iter().find(|(changed, _)| *changed == flag);
            let name = other.map_or(usual, |(_, name)| *name);
            words.extend([flag.to_owned(), folder.join(name).display().to_string()]);
        }
        Line::try_parse_from(words).unwrap().tls
    }

    async fn refusal(folder: &Path, flag: &str, name: &str) -> String {
        let failure = args(folder, &[(flag, name)]).listen().await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let file = format!("{flag} {}: ", folder.join(name).display());
        failure.what.strip_prefix(&file).expect("the flag and the file come first").to_owned()
    }

    #[test]
    fn one_of_the_four_is_not_enough() {
        let all = ["--grpc-tls", "--tls-cert", "--tls-key", "--tls-client-ca"];
        for left_out in all {
            let words = all.iter().filter(|flag| **flag != left_out).flat_map(|flag| [flag, "a"]);
            let error = Line::try_parse_from(std::iter::once("x").chain(words)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
            assert!(error.to_string().contains(left_out), "{error}");
        }
    }

    #[tokio::test]
    async fn nobody_who_does_not_ask_for_it_gets_tls() {
        assert!(Line::try_parse_from(["x"]).unwrap().tls.listen().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_set_that_fits_is_listened_with() {
        let folder = dev_certs::made_for_a_test();
        assert!(args(folder.path(), &[]).listen().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn each_file_that_is_unfit_is_named_with_what_is_wrong() {
        let folder = dev_certs::made_for_a_test();
        let folder = folder.path();
        fs::write(folder.join("empty"), "").unwrap();
        let pem = |kind| format!("-----BEGIN {kind}-----\nbm90aGluZw==\n-----END {kind}-----\n");
        fs::write(folder.join("nothing.crt"), pem("CERTIFICATE")).unwrap();
        fs::write(folder.join("nothing.key"), pem("PRIVATE KEY")).unwrap();
        fs::write(folder.join("cut.crt"), "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n").unwrap();
        for (flag, _) in FILES {
            let missing = refusal(folder, flag, "no-such-file").await;
            assert!(missing.starts_with("No such file or directory"), "{missing}");
        }
        for flag in ["--tls-cert", "--tls-client-ca"] {
            for name in ["empty", "server.key"] {
                assert_eq!(refusal(folder, flag, name).await, "there is no PEM certificate in it");
            }
            assert_eq!(
                refusal(folder, flag, "nothing.crt").await,
                "the certificate in it can not be read"
            );
            let cut = refusal(folder, flag, "cut.crt").await;
            assert!(cut.starts_with("it is no PEM file: "), "{cut}");
        }
        for name in ["empty", "server.crt"] {
            assert_eq!(
                refusal(folder, "--tls-key", name).await,
                "there is no unencrypted PEM private key in it"
            );
        }
        let nothing = refusal(folder, "--tls-key", "nothing.key").await;
        assert!(nothing.contains("private key"), "{nothing}");
        assert_eq!(
            refusal(folder, "--tls-key", "client.key").await,
            format!(
                "the key does not belong to the certificate in {}",
                folder.join("server.crt").display()
            )
        );
    }
}
