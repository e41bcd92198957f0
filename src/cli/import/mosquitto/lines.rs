//! The lines of a mosquitto.conf: one option each, files of `include_dir` in their place.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

/// One line that is not empty and not a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands, such as `mosquitto.conf:12`.
    pub place: String,
    /// The option's name.
    pub option: String,
    /// What follows the name, without blanks around it.
    pub value: String,
}

/// The lines of one file's text; `file` is its name in what users are told.
pub fn parse(file: &str, text: &str) -> Vec<Line> {
    let numbered = text.lines().enumerate();
    numbered
        .filter(|(_, line)| !line.starts_with('#'))
        .filter_map(|(index, line)| {
            let line = line.trim();
            let (option, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let place = format!("{file}:{}", index + 1);
            let filled = !option.is_empty();
            filled.then(|| Line { place, option: option.to_owned(), value: value.trim().to_owned() })
        })
        .collect()
}

/// Reads a file, and in the place of each `include_dir` the `.conf` files of that directory.
///
/// # Errors
/// Where a file or a directory cannot be read; the text names it.
pub fn read(path: &Path) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for line in parse(&path.display().to_string(), &text_of(path)?) {
        if line.option != "include_dir" {
            lines.push(line);
            continue;
        }
        let directory = included(path, &line.value);
        let files = conf_files(&directory)
            .map_err(|error| format!("{}: include_dir {}: {error}", line.place, directory.display()))?;
        for file in files {
            // As in mosquitto, an include_dir in an included file stays a line: it is noted, not followed.
            lines.extend(parse(&file.display().to_string(), &text_of(&file)?));
        }
    }
    Ok(lines)
}

fn text_of(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The directory as mosquitto would find it, or beside the file that names it.
fn included(file: &Path, directory: &str) -> PathBuf {
    let named = PathBuf::from(directory);
    if named.is_dir() {
        return named;
    }
    file.parent().map_or(named.clone(), |folder| folder.join(named))
}

fn conf_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort_by(|left, right| in_order(&name_of(left), &name_of(right)));
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Alphabetical; the upper case of a letter stands before its lower case.
fn in_order(left: &str, right: &str) -> Ordering {
    let key = |name: &str| name.bytes().map(|byte| (byte.to_ascii_lowercase(), byte)).collect::<Vec<_>>();
    key(left).cmp(&key(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_left_out_and_numbers_stay() {
        let text = "# a comment\n\nconnection  a b \r\n  topic\t# out 1\ncleansession\n";
        let wanted = [("f:3", "connection", "a b"), ("f:4", "topic", "# out 1"), ("f:5", "cleansession", "")];
        let lines = parse("f", text);
        let got: Vec<_> = lines.iter().map(|line| (&*line.place, &*line.option, &*line.value)).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn included_files_stand_in_their_order_in_the_place_of_the_line() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("d")).unwrap();
        for name in ["b.conf", "A.conf", "01.conf", "a.conf", "B.conf", "00.conf", "c.txt"] {
            fs::write(home.path().join("d").join(name), format!("option {name}\n")).unwrap();
        }
        let main = home.path().join("main.conf");
        fs::write(&main, "first 1\ninclude_dir d\nlast 2\n").unwrap();
        let values: Vec<_> = read(&main).unwrap().into_iter().map(|line| line.value).collect();
        assert_eq!(values, ["1", "00.conf", "01.conf", "A.conf", "a.conf", "B.conf", "b.conf", "2"]);
        fs::write(&main, "include_dir nowhere\n").unwrap();
        assert!(read(&main).unwrap_err().contains("main.conf:1: include_dir"), "the line is named");
        assert!(read(&home.path().join("missing.conf")).is_err());
    }
}
