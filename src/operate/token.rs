//! Tokens of callers: made here, kept by the caller, known to us by their digest alone.

use std::io;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What a token begins with, so that people and scanners for leaked secrets know one when they see it.
pub const PREFIX: &str = "cfd_";

/// What the configuration holds of a token. A token is all chance, so it needs no slow hash.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// A token of 32 random bytes, and its digest.
pub fn generate() -> (SecretString, [u8; 32]) {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).expect("no operating system that we run on lacks random numbers");
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let digest = digest(&token);
    (SecretString::from(token), digest)
}

/// `confirmd token new`: makes one and shows it, this once.
pub fn new(out: &mut impl io::Write) -> io::Result<()> {
    let (token, digest) = generate();
    writeln!(out, "The token, shown this once; the caller keeps it:\n\n    {}\n", token.expose_secret())?;
    writeln!(out, "Its digest, for the caller's [[callers]] in the configuration:\n\n    {}", config_line(&digest))
}

fn config_line(digest: &[u8; 32]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("tokens_sha256 = [\"{hex}\"]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Role};

    #[test]
    fn a_token_is_its_prefix_and_32_random_bytes() {
        let (token, digested) = generate();
        let token = token.expose_secret();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX).unwrap()).unwrap();
        assert_eq!(bytes.len(), 32);
        assert_eq!(digested, digest(token));
        assert_ne!(generate().1, digested);
    }

    #[test]
    fn a_digest_is_sha_256() {
        let abc = "tokens_sha256 = [\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]";
        assert_eq!(config_line(&digest("abc")), abc);
    }

    #[test]
    fn the_line_that_is_shown_is_one_that_the_configuration_takes() {
        let mut shown = Vec::new();
        new(&mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        let token = shown.lines().find_map(|line| line.trim().strip_prefix(PREFIX)).unwrap();
        let line = shown.lines().find(|line| line.contains("tokens_sha256 = ")).unwrap();
        let file = format!("[[callers]]\nname = \"login\"\nscopes = [\"ingest\"]\n{line}");
        let variables: Environment = [
            ("DATABASE_URL", "postgres://localhost/confirmd"),
            ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
            ("TWILIO_AUTH_TOKEN", "x"),
        ]
        .into_iter()
        .collect();
        let config = Config::from_layers(Some(("confirmd.toml", &file)), &variables, Role::All).unwrap();
        assert_eq!(config.callers[0].tokens_sha256, [digest(&format!("{PREFIX}{token}"))]);
    }
}
