//! The secrets that requests are signed with, and the signature (Standard Webhooks 1.0.0).
//!
//! A queue names a secret; the secret itself stays with the process, in its environment or in a file,
//! where whatever hands out secrets on that platform puts it. Read anew for each call, so that a file
//! that was replaced counts at once.

use std::{env, fmt, fs, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::workflow::Timestamp;

/// Before the name of a secret in the environment.
const VARIABLE: &str = "LAZARUS_PUSH_SECRET_";
/// Before the base64 of a key.
const PREFIX: &str = "whsec_";
/// How long a key may be, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where this process finds its secrets.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    directory: Option<PathBuf>,
}

/// The keys of one secret: the newest first, and those that it replaces.
pub(super) struct Keys(Vec<Vec<u8>>);

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys", self.0.len())
    }
}

impl Secrets {
    /// From the environment, and before that from the files in `directory`, each named as its secret.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// The keys of the secret `name`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do; never with a part of a secret.
    pub(super) fn keys(&self, name: &str) -> Result<Keys, String> {
        let file = self.directory.as_ref().map(|directory| directory.join(name));
        let variable = format!("{VARIABLE}{name}");
        let (place, text) = match file.filter(|file| file.exists()) {
            Some(file) => {
                let text = fs::read_to_string(&file);
                let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
                (file.display().to_string(), text)
            }
            None => match env::var(&variable) {
                Ok(text) => (variable, text),
                Err(_) => {
                    return Err(format!(
                        "this process has no secret `{name}`; set {variable}, or put it into a file \
                         of that name under --push-secrets"
                    ));
                }
            },
        };
        keys(&text).map_err(|fault| format!("{place}: {fault}"))
    }
}

fn keys(text: &str) -> Result<Keys, String> {
    let key = |word: &str| {
        let decoded = BASE64_STANDARD.decode(word.strip_prefix(PREFIX).unwrap_or(word));
        decoded.ok().filter(|key| KEY_BYTES.contains(&key.len())).ok_or_else(|| {
            "it is no secret; write `whsec_` and the base64 of 24 to 64 random bytes, several with \
             spaces between them"
                .to_owned()
        })
    };
    let keys = text.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err("it is empty".to_owned()) } else { Ok(Keys(keys)) }
}

impl Keys {
    /// The value of `webhook-signature`: one signature for each key, so that a target may change its
    /// key before or after we do.
    pub(super) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let sign = |key: &Vec<u8>| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(key).expect("BUG: HMAC refused a key's length");
            mac.update(format!("{id}.{}.", seconds(at)).as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// The value of `webhook-timestamp`.
pub(super) fn seconds(at: Timestamp) -> u64 {
    at.as_millis() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the test "sign function works" of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secret: &str) -> String {
        let at = Timestamp::from_millis(1_614_265_330_999);
        keys(secret).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        assert_eq!(sign(SECRET), SIGNATURE);
        assert_eq!(sign("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), SIGNATURE, "without the prefix");
    }

    #[test]
    fn while_a_key_is_replaced_both_sign() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        assert_eq!(sign(&format!("{other} {SECRET}")), format!("{} {SIGNATURE}", sign(other)));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for text in ["whsec_short", "whsec_!!!", &BASE64_STANDARD.encode([7; 65])] {
            let fault = keys(text).unwrap_err();
            assert!(fault.starts_with("it is no secret; write `whsec_`"), "{fault}");
            assert!(!fault.contains(text), "{fault}");
        }
        assert_eq!(keys(" \n").unwrap_err(), "it is empty");
    }

    #[test]
    fn a_secret_is_found_in_its_file_and_missed_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("PDF"), SECRET).unwrap();
        let secrets = Secrets::new(Some(directory.path().to_owned()));
        assert!(secrets.keys("PDF").is_ok());
        let fault = secrets.keys("NOBODYS").unwrap_err();
        let expected = "this process has no secret `NOBODYS`; set LAZARUS_PUSH_SECRET_NOBODYS, or put \
                        it into a file of that name under --push-secrets";
        assert_eq!(fault, expected);
        assert_eq!(format!("{:?}", secrets.keys("PDF").unwrap()), "1 keys");
    }
}
