//! `lazarus dev-certs`: the files with which a TLS listener and its workers know each other.
//!
//! Invariants:
//! * a key is readable for its owner only, from the moment that it exists;
//! * the CA's key is never written: nobody can make another certificate that the set accepts;
//! * without `--force` no file is replaced, and then none is written either.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args as Arguments;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error as RcgenError,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::{
    clock,
    exit::Failure,
    output::{self, BOLD, GOOD, painted},
};
use crate::env::Env;

const CA: &str = "ca.crt";
const SERVER: (&str, &str) = ("server.crt", "server.key");
/// As `python -m cerebelum.worker` looks for them.
const CLIENT: (&str, &str) = ("client.crt", "client.key");
/// Names under which a server on the same machine is called.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// So that the clock of another machine may be behind.
const BACKDATED: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Beside the ports of `dev`.
const PORT: u16 = 50053;

/// Make certificates for a TLS listener and its workers
///
/// A CA, a certificate for the server (localhost, its addresses and each --host) and one for all
/// workers. The key of the CA is not kept: for other names or after their days, make a new set.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus dev-certs certs
  lazarus dev-certs certs --host lazarus.internal --host 10.0.0.7 --days 90")]
pub(super) struct Args {
    /// Where to write ca.crt, server.crt, server.key, client.crt and client.key
    dir: PathBuf,
    /// Another name or IP address of the server; may be given several times
    #[arg(long = "host", value_name = "NAME", value_parser = host)]
    hosts: Vec<String>,
    /// For how many days they are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// Makes the files, and says what to do with them.
pub(super) fn run(args: &Args, env: &dyn Env) -> Result<(), Failure> {
    let made = make(args, env).map_err(|error| {
        Failure::refused(format_args!("no certificate can be made: {error}"), "report this bug")
    })?;
    write(args, &made)?;
    next(args, env).iter().try_for_each(output::line)
}

/// One file to write.
struct File {
    name: &'static str,
    text: String,
    is_key: bool,
}

fn make(args: &Args, env: &dyn Env) -> Result<Vec<File>, RcgenError> {
    let params = |names: Vec<String>, name: &str| -> Result<CertificateParams, RcgenError> {
        let since_epoch = Duration::from_millis(env.now().as_millis());
        let mut params = CertificateParams::new(names)?;
        params.not_before = date_time_ymd(1970, 1, 1) + since_epoch.saturating_sub(BACKDATED);
        params.not_after = date_time_ymd(1970, 1, 1) + since_epoch + DAY * args.days;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    };
    // A name of its own, so that clients that know several sets look for the right one.
    let mut ca = params(vec![], &format!("lazarus dev-certs {:08x}", env.random() >> 96))?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let mut files = vec![File { name: CA, text: ca.pem(), is_key: false }];
    let server = params(names(args), "lazarus server")?;
    let client = params(vec![], "lazarus worker")?;
    for (mut params, usage, (certificate, key)) in [
        (server, ExtendedKeyUsagePurpose::ServerAuth, SERVER),
        (client, ExtendedKeyUsagePurpose::ClientAuth, CLIENT),
    ] {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let pair = KeyPair::generate()?;
        let signed = params.signed_by(&pair, &ca)?;
        files.push(File { name: certificate, text: signed.pem(), is_key: false });
        files.push(File { name: key, text: pair.serialize_pem(), is_key: true });
    }
    Ok(files)
}

fn names(args: &Args) -> Vec<String> {
    LOCAL.into_iter().map(str::to_owned).chain(args.hosts.iter().cloned()).collect()
}

/// A name that a certificate can have.
fn host(text: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_name = !text.is_empty() && text.len() <= 253 && text.chars().all(is_letter);
    if is_name || text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("give a host's name or its IP address, without a port".to_owned())
}

fn write(args: &Args, files: &[File]) -> Result<(), Failure> {
    let there = files
        .iter()
        .map(|file| args.dir.join(file.name))
        .find(|path| path.is_symlink() || path.exists());
    if let Some(path) = there.filter(|_| !args.force) {
        return Err(Failure::refused(
            format_args!("{} exists", path.display()),
            "choose another directory, or replace the whole set with --force",
        ));
    }
    fs::create_dir_all(&args.dir).map_err(|error| unwritable(&args.dir, &error))?;
    for file in files {
        let path = args.dir.join(file.name);
        put(&path, file, args.force).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

/// Where it may replace a file it removes that first, and does not write into it: its mode would stay.
fn put(path: &Path, file: &File, force: bool) -> io::Result<()> {
    if force && (path.is_symlink() || path.exists()) {
        fs::remove_file(path)?;
    }
    let mode = if file.is_key { 0o600 } else { 0o644 };
    let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    to.write_all(file.text.as_bytes())
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::refused(
        format_args!("{}: {error}", path.display()),
        "choose a directory in which this user may write",
    )
}

/// What was made, and the lines that make use of it.
fn next(args: &Args, env: &dyn Env) -> Vec<String> {
    let at = |name: &str| quoted(&args.dir.join(name));
    let until = env.now().after(DAY * args.days);
    let (listen, host) = match args.hosts.first() {
        // Before a port, an IPv6 address stands in brackets.
        Some(host) if host.contains(':') => ("[::]", format!("[{host}]")),
        Some(host) => ("0.0.0.0", host.clone()),
        None => ("127.0.0.1", LOCAL[0].to_owned()),
    };
    let (ca, (server, server_key), (client, client_key)) =
        (at(CA), (at(SERVER.0), at(SERVER.1)), (at(CLIENT.0), at(CLIENT.1)));
    let head = |text| painted(BOLD, text);
    vec![
        format!(
            "{} {CA}, {}, {}, {} and {} in {}, valid until {}",
            painted(GOOD, "made"),
            SERVER.0,
            SERVER.1,
            CLIENT.0,
            CLIENT.1,
            args.dir.display(),
            clock::date_and_time(until)
        ),
        format!("{} (or lazarus serve --store URL, with the same flags)", head("start the engine")),
        format!(
            "  lazarus dev --grpc-tls {listen}:{PORT} --tls-cert {server} --tls-key {server_key} \
             --tls-client-ca {ca}"
        ),
        format!("{} (only these three files, to each of their machines)", head("let workers in")),
        format!(
            "  mkdir -p ~/.cerebelum/certs && cp {ca} {client} {client_key} ~/.cerebelum/certs/"
        ),
        format!("{} (where workflow.py is)", head("run a worker")),
        format!("  CEREBELUM_ENGINE={host} CEREBELUM_GRPC_PORT={PORT} python -m cerebelum.worker"),
    ]
}

/// `path` as a shell reads it again.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+:@".contains(letter);
    if text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A folder with a set in it.
#[cfg(test)]
pub(super) fn made_for_a_test() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let args = Args { dir: folder.path().to_owned(), hosts: vec![], days: 1, force: false };
    write(&args, &make(&args, &crate::env::SystemEnv).unwrap()).unwrap();
    folder
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use anstream::adapter::strip_str;
    use clap::Parser as _;

    use super::*;
    use crate::{cli::exit::Exit, env::SystemEnv};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    const NAMES: [&str; 5] = [CA, SERVER.0, SERVER.1, CLIENT.0, CLIENT.1];

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn texts(folder: &Path) -> Vec<String> {
        NAMES.map(|name| fs::read_to_string(folder.join(name)).unwrap()).to_vec()
    }

    fn args(folder: &Path, force: bool) -> Args {
        Args { dir: folder.to_owned(), hosts: vec![], days: 1, force }
    }

    fn written(args: &Args) -> Result<(), Failure> {
        write(args, &make(args, &SystemEnv).unwrap())
    }

    #[test]
    fn only_their_owner_reads_the_keys() {
        let folder = made_for_a_test();
        for name in NAMES {
            let path = folder.path().join(name);
            let is_key = [SERVER.1, CLIENT.1].contains(&name);
            assert!(!is_key || mode(&path) == 0o600, "{name}: {:o}", mode(&path));
            let text = fs::read_to_string(&path).unwrap();
            let kind = if is_key { "PRIVATE KEY" } else { "CERTIFICATE" };
            assert!(text.starts_with(&format!("-----BEGIN {kind}-----")), "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), NAMES.len(), "nothing else");
    }

    #[test]
    fn what_is_there_is_kept_unless_force_is_given() {
        let folder = made_for_a_test();
        let folder = folder.path();
        let before = texts(folder);
        fs::remove_file(folder.join(CA)).unwrap();
        let refused = written(&args(folder, false)).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert_eq!(refused.what, format!("{} exists", folder.join(SERVER.0).display()));
        assert!(!folder.join(CA).exists(), "a refusal writes nothing");

        fs::set_permissions(folder.join(SERVER.1), fs::Permissions::from_mode(0o644)).unwrap();
        written(&args(folder, true)).unwrap();
        let after = texts(folder);
        assert!(before.iter().zip(&after).all(|(before, after)| before != after));
        assert_eq!(mode(&folder.join(SERVER.1)), 0o600);
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_named() {
        let folder = made_for_a_test();
        let inside_a_file = folder.path().join(CA).join("certs");
        let refused = written(&args(&inside_a_file, false)).unwrap_err();
        assert!(refused.what.starts_with(&inside_a_file.display().to_string()), "{}", refused.what);
    }

    #[test]
    fn the_lines_it_prints_are_lines_that_work() {
        let line = ["x", "my certs", "--host", "engine.example", "--days", "90"];
        let args = Line::try_parse_from(line).unwrap().args;
        let lines: Vec<String> =
            next(&args, &SystemEnv).iter().map(|line| strip_str(line).to_string()).collect();
        assert_eq!(
            [&lines[2], &lines[4], &lines[6]],
            [
                "  lazarus dev --grpc-tls 0.0.0.0:50053 --tls-cert 'my certs/server.crt' \
                 --tls-key 'my certs/server.key' --tls-client-ca 'my certs/ca.crt'",
                "  mkdir -p ~/.cerebelum/certs && cp 'my certs/ca.crt' 'my certs/client.crt' \
                 'my certs/client.key' ~/.cerebelum/certs/",
                "  CEREBELUM_ENGINE=engine.example CEREBELUM_GRPC_PORT=50053 \
                 python -m cerebelum.worker",
            ]
        );
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for good in ["lazarus.internal", "my-host", "10.0.0.7", "fd00::7"] {
            assert_eq!(host(good).unwrap(), good);
        }
        for bad in ["", "a b", "https://a", "a:50053", "größe", &"a".repeat(254)] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for days in ["0", "3651"] {
            assert!(Line::try_parse_from(["x", "a", "--days", days]).is_err());
        }
    }
}
