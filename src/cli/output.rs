//! What commands write: results to standard output, complaints to standard error.

use std::io::{self, ErrorKind, Write};

use super::Failure;

/// Whether anyone still reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The bytes went out.
    Listens,
    /// The reader has closed its end of the pipe: a normal end, as in `mqtt-proxy sub ... | head`.
    Gone,
}

/// Writes to standard output, and on to whoever reads there.
pub fn write(bytes: &[u8]) -> Result<Reader, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::work(format!("standard output cannot be written: {error}"))),
    }
}

/// Writes one line about what went wrong.
pub fn complain(line: &str) {
    // Nobody is left to tell where this fails.
    let _ = writeln!(io::stderr().lock(), "error: {line}");
}

/// Writes one line that is worth knowing and no error.
pub fn note(line: &str) {
    // Nobody is left to tell where this fails.
    let _ = writeln!(io::stderr().lock(), "note: {line}");
}
