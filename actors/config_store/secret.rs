//! Secrets at rest: AES-256-GCM under a key that PBKDF2 derives from the secret of `MQTT_PROXY_SECRET`.

use openssl::base64;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};

use crate::broker::Secret;

/// Rounds of PBKDF2-HMAC-SHA256 for new files: what OWASP asks for.
pub const ROUNDS: u32 = 600_000;

/// The fewest and the most rounds that a file may ask for; beyond that it was not written by this program.
pub const ROUNDS_ALLOWED: std::ops::RangeInclusive<u32> = 100_000..=10_000_000;

const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// How the key is derived from the secret. It is no secret itself and stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDerivation {
    /// Random, so that two files under the same secret have different keys.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2-HMAC-SHA256.
    pub rounds: u32,
}

impl KeyDerivation {
    /// A fresh salt and today's number of rounds.
    pub fn generate() -> Result<KeyDerivation, ErrorStack> {
        let mut salt = vec![0; SALT_BYTES];
        rand_bytes(&mut salt)?;
        Ok(KeyDerivation { salt, rounds: ROUNDS })
    }
}

/// A text that is no sealed secret of this place under this key.
#[derive(Debug, PartialEq, Eq)]
pub struct CannotOpen;

/// Seals and opens secrets. The key is derived once, when the vault is made.
pub struct Vault {
    derivation: KeyDerivation,
    key: [u8; KEY_BYTES],
}

impl Vault {
    /// Derives the key, which takes a noticeable part of a second on purpose.
    pub fn new(secret: &Secret, derivation: KeyDerivation) -> Result<Vault, ErrorStack> {
        let mut key = [0; KEY_BYTES];
        let rounds = derivation.rounds as usize;
        let digest = MessageDigest::sha256();
        pbkdf2_hmac(secret.reveal().as_bytes(), &derivation.salt, rounds, digest, &mut key)?;
        Ok(Vault { derivation, key })
    }

    /// How the key was derived.
    pub fn derivation(&self) -> &KeyDerivation {
        &self.derivation
    }

    /// Encrypts a secret: Base64 of nonce, ciphertext and tag. It opens with the same `context` only.
    pub fn seal(&self, secret: &Secret, context: &[u8]) -> Result<String, ErrorStack> {
        let mut nonce = [0; NONCE_BYTES];
        rand_bytes(&mut nonce)?;
        let mut tag = [0; TAG_BYTES];
        let plain = secret.reveal().as_bytes();
        let cipher = encrypt_aead(Cipher::aes_256_gcm(), &self.key, Some(&nonce), context, plain, &mut tag)?;
        Ok(base64::encode_block(&[&nonce[..], &cipher, &tag].concat()))
    }

    /// The secret that [`Vault::seal`] encrypted with the same context.
    pub fn open(&self, sealed: &str, context: &[u8]) -> Result<Secret, CannotOpen> {
        let bytes = base64::decode_block(sealed).map_err(|_| CannotOpen)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_BYTES).ok_or(CannotOpen)?;
        let cipher_bytes = rest.len().checked_sub(TAG_BYTES).ok_or(CannotOpen)?;
        let (cipher, tag) = rest.split_at(cipher_bytes);
        let plain = decrypt_aead(Cipher::aes_256_gcm(), &self.key, Some(nonce), context, cipher, tag)
            .map_err(|_| CannotOpen)?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| CannotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secret: &str, salt: u8) -> Vault {
        let derivation = KeyDerivation { salt: vec![salt; SALT_BYTES], rounds: 1_000 };
        Vault::new(&Secret::new(secret), derivation).unwrap()
    }

    #[test]
    fn a_secret_comes_back_with_the_same_context_and_key_only() {
        let broker = b"broker a";
        for password in ["", "x", "pässwörd with spaces and \"quotes\"", &"long".repeat(1_000)] {
            let sealed = vault("key", 1).seal(&Secret::new(password), broker).unwrap();
            assert!(password.len() < 2 || !sealed.contains(password));
            assert_eq!(vault("key", 1).open(&sealed, broker).unwrap().reveal(), password);
            assert_eq!(vault("another", 1).open(&sealed, broker), Err(CannotOpen));
            assert_eq!(vault("key", 2).open(&sealed, broker), Err(CannotOpen));
            assert_eq!(vault("key", 1).open(&sealed, b"broker b"), Err(CannotOpen));
        }
    }

    #[test]
    fn the_same_password_is_never_sealed_to_the_same_text() {
        let broker = b"broker a";
        let vault = vault("key", 1);
        let password = Secret::new("same");
        assert_ne!(vault.seal(&password, broker).unwrap(), vault.seal(&password, broker).unwrap());
    }

    #[test]
    fn damaged_texts_do_not_open_and_do_not_panic() {
        let broker = b"broker a";
        let vault = vault("key", 1);
        for text in ["", "A", "AAAA", "not base64!", &base64::encode_block(&[0; 27]), &"AAAA".repeat(50)] {
            assert_eq!(vault.open(text, broker), Err(CannotOpen), "{text:?}");
        }
        let sealed = vault.seal(&Secret::new("password"), broker).unwrap();
        for cut in 0..sealed.len() {
            assert_eq!(vault.open(&sealed[..cut], broker), Err(CannotOpen));
        }
    }
}
