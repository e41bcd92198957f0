//! The files of the log in a proxy's data directory: how large they are, and how to damage them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The log's files below this data directory, oldest first.
pub fn log_files(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(data.join("log")) else { return Vec::new() };
    let paths = entries.map_while(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    files.sort();
    files
}

/// The bytes of the largest of the log's files.
pub fn largest_file(data: &Path) -> u64 {
    let files = log_files(data);
    files.iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).max().unwrap_or(0)
}

/// The bytes of all of the log's files together. One that goes away meanwhile does not count.
pub fn log_bytes(data: &Path) -> u64 {
    log_files(data).iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// The place of a text in the log: the file, and where in it the text begins.
pub fn place_of(data: &Path, text: &str) -> (PathBuf, usize) {
    let found = log_files(data).into_iter().find_map(|path| {
        let bytes = fs::read(&path).expect("a file of the log can be read");
        let place = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
        Some((path, place))
    });
    found.unwrap_or_else(|| panic!("{text:?} is not in the log"))
}

/// Turns all bits of one byte round.
pub fn flip_byte(path: &Path, place: usize) {
    let mut bytes = fs::read(path).expect("a file of the log can be read");
    bytes[place] = !bytes[place];
    fs::write(path, bytes).expect("a file of the log can be written");
}

/// Cuts a file off.
pub fn cut_at(path: &Path, place: usize) {
    let file = OpenOptions::new().write(true).open(path).expect("a file of the log can be opened");
    file.set_len(place as u64).expect("a file can be cut");
}

/// Puts bytes behind the end of a file.
pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("a file of the log can be opened");
    file.write_all(bytes).expect("a file can grow");
}
