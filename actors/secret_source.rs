//! Where a secret stands: in the definition itself, in an environment variable (`env:NAME`) or in a file
//! (`file:/path`). It is looked up at each connect, so that a secret that was exchanged is used from then on.

use std::fs::File;
use std::io::Read;

use crate::broker::Secret;
use crate::limits;

/// The variable that seals stored secrets. It is handed to nobody.
const SEALING_SECRET: &str = "MQTT_PROXY_SECRET";

/// The value that a field's text stands for. A file's content counts without its last line break. This may wait for a
/// disk, so it is not for a thread that others wait for.
///
/// # Errors
/// The text names the field and the variable or file, never a value.
pub fn resolve(field: &str, text: &str) -> Result<Secret, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return from_environment(name).map_err(|problem| format!("{field}: {problem}"));
    }
    if let Some(path) = text.strip_prefix("file:") {
        return read_text(path).map_err(|problem| format!("{field}: {problem}"));
    }
    Ok(Secret::new(text))
}

fn from_environment(name: &str) -> Result<Secret, String> {
    if name == SEALING_SECRET {
        return Err(format!("environment variable {name} seals stored secrets and cannot be used as one"));
    }
    // The system's call would panic for such a name.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("env:{name} does not name an environment variable"));
    }
    let value = std::env::var_os(name).ok_or_else(|| format!("environment variable {name} is not set"))?;
    match value.into_string() {
        Ok(value) if value.len() <= limits::SECRET_BYTES_MAX => Ok(Secret::new(value)),
        Ok(_) => Err(format!("environment variable {name} has more than {} bytes", limits::SECRET_BYTES_MAX)),
        Err(_) => Err(format!("environment variable {name} is not UTF-8")),
    }
}

fn read_text(path: &str) -> Result<Secret, String> {
    let bytes = read_file(path)?;
    let mut text = String::from_utf8(bytes).map_err(|_| format!("file {path} is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Secret::new(text))
}

/// The bytes of a regular file of bounded size.
///
/// # Errors
/// The text names the file and what is wrong with it.
pub fn read_file(path: &str) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("file {path} cannot be read: {error}");
    // A pipe or a device would make us wait.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("file {path} cannot be read: it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limits::SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limits::SECRET_BYTES_MAX {
        return Err(format!("file {path} has more than {} bytes", limits::SECRET_BYTES_MAX));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::is_reference;

    fn value(text: &str) -> Result<String, String> {
        resolve("password", text).map(|secret| secret.reveal().to_owned())
    }

    /// A file with this content that is gone with the value.
    struct TemporaryFile(std::path::PathBuf);

    impl TemporaryFile {
        fn new(content: &[u8]) -> TemporaryFile {
            let path = std::env::temp_dir().join(format!("mqtt-proxy-secret-{}", uuid::Uuid::new_v4()));
            std::fs::write(&path, content).unwrap();
            TemporaryFile(path)
        }

        fn reference(&self) -> String {
            format!("file:{}", self.0.display())
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn a_text_without_a_source_is_the_value_itself() {
        for text in ["", "secret", "https://host", "ENV:NAME", " file:/x"] {
            assert_eq!(value(text), Ok(text.to_owned()));
            assert!(!is_reference(text), "{text}");
        }
        assert!(is_reference("env:X") && is_reference("file:/x"));
    }

    #[test]
    fn a_file_counts_without_its_last_line_break() {
        for (content, secret) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            (" two words \n", " two words "),
            ("secret\r", "secret\r"),
            ("\n", ""),
            ("", ""),
        ] {
            let file = TemporaryFile::new(content.as_bytes());
            assert_eq!(value(&file.reference()).as_deref(), Ok(secret), "{content:?}");
        }
    }

    #[test]
    fn a_file_of_the_wrong_kind_is_named_and_its_content_is_not() {
        let long = TemporaryFile::new(&vec![b'x'; limits::SECRET_BYTES_MAX + 1]);
        let binary = TemporaryFile::new(b"abc\xff");
        for (reference, problem) in [
            (long.reference(), "has more than"),
            (binary.reference(), "is not UTF-8"),
            ("file:/nowhere/secret".to_owned(), "No such file"),
            ("file:/dev/zero".to_owned(), "not a regular file"),
            ("file:/".to_owned(), "not a regular file"),
            ("file:".to_owned(), "No such file"),
        ] {
            let error = value(&reference).unwrap_err();
            let path = reference.trim_start_matches("file:");
            assert!(error.starts_with(&format!("password: file {path} ")), "{error}");
            assert!(error.contains(problem) && !error.contains("abc"), "{error}");
        }
        let just_fits = TemporaryFile::new(&vec![b'x'; limits::SECRET_BYTES_MAX]);
        assert_eq!(value(&just_fits.reference()).map(|text| text.len()), Ok(limits::SECRET_BYTES_MAX));
    }

    #[test]
    fn a_variable_is_looked_up_by_its_name() {
        // cargo sets this one for every test.
        assert_eq!(value("env:CARGO_MANIFEST_DIR").as_deref(), Ok(env!("CARGO_MANIFEST_DIR")));
        for (reference, problem) in [
            ("env:NO_SUCH_VARIABLE_1", "password: environment variable NO_SUCH_VARIABLE_1 is not set"),
            ("env:", "password: env: does not name an environment variable"),
            ("env:A=B", "password: env:A=B does not name an environment variable"),
            ("env:MQTT_PROXY_SECRET", "password: environment variable MQTT_PROXY_SECRET seals"),
        ] {
            let error = value(reference).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
