//! What a linter cannot hold: the invariants of the house, checked by reading the tree. Most of them are
//! absences. Each failure says what to do.

#[path = "tidy/fields.rs"]
mod fields;
#[path = "tidy/metrics.rs"]
mod metrics;
#[path = "tidy/statements.rs"]
mod statements;

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests.
const LINES_MAX: usize = 400;

/// Where no source of ours is.
const NOT_OURS: &[&str] = &["target", ".git", "corpus", "artifacts", "node_modules"];

/// A file of the tree: its path from the root, and its text.
struct SourceFile {
    path: String,
    text: String,
    /// Whether it holds tests, benches or fuzz targets only.
    is_test_code: bool,
}

impl SourceFile {
    /// The part before the first `#[cfg(test)]` module: by convention tests stand at the end of a file.
    fn code(&self) -> &str {
        if self.is_test_code {
            return "";
        }
        let mut place = 0;
        for line in self.text.split_inclusive('\n') {
            let item = self.text[place..].lines().find(|line| !line.starts_with("#["));
            if line.starts_with("#[cfg(test)]") && item.is_some_and(|item| item.ends_with("mod tests {")) {
                return &self.text[..place];
            }
            place += line.len();
        }
        &self.text
    }

    /// The files of the modules that this one has for tests only (`#[cfg(test)] mod table;`).
    fn test_modules(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut of_tests = false;
        for line in self.text.lines() {
            let name = line.strip_suffix(';').and_then(|item| item.split("mod ").nth(1));
            if let Some(name) = name.filter(|_| of_tests) {
                let folder = self.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
                let folder = folder.trim_end_matches("/lib").trim_end_matches("/main");
                found.extend([format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]);
            }
            of_tests = line == "#[cfg(test)]" || (of_tests && line.starts_with("#["));
        }
        found
    }

    /// The code's lines with their numbers, comments left out.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code().lines().enumerate();
        lines.map(|(index, line)| (index + 1, without_comment(line))).filter(|(_, line)| !line.is_empty())
    }
}

fn without_comment(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return "";
    }
    // A `//` within a string literal follows a colon in every case that matters here (`mqtt://`).
    let comment = line.match_indices("//").find(|(place, _)| *place > 0 && !line[..*place].ends_with(':'));
    comment.map_or(line, |(place, _)| &line[..place])
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the tree that has one of these endings.
fn files(endings: &[&str]) -> Vec<SourceFile> {
    let mut found = Vec::new();
    collect(&root(), endings, &mut found);
    found.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(!found.is_empty(), "the tree has no files that end in {endings:?}");
    found
}

fn collect(directory: &Path, endings: &[&str], found: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(directory).expect("the tree can be read") {
        let path = entry.expect("the tree can be read").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let is_data = path == root().join("data");
        if path.is_dir() {
            if !NOT_OURS.contains(&name.as_str()) && !is_data {
                collect(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            // What is not text is no business of this test.
            if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).expect("it is below the root").to_string_lossy();
                let is_test_code = is_in_test_folder(&path);
                found.push(SourceFile { path: path.into_owned(), text, is_test_code });
            }
        }
    }
}

fn is_in_test_folder(path: &str) -> bool {
    ["tests/", "benches/", "fuzz/"]
        .iter()
        .any(|name| path.starts_with(name) || path.contains(&format!("/{name}")))
}

fn rust_files() -> Vec<SourceFile> {
    let mut all = files(&[".rs"]);
    let of_tests: Vec<String> = all.iter().flat_map(SourceFile::test_modules).collect();
    for file in &mut all {
        file.is_test_code |= of_tests.iter().any(|module| file.path.starts_with(module));
    }
    all
}

/// Fails with all that was found, and with what to do about it.
fn assert_none(found: &[String], advice: &str) {
    assert!(found.is_empty(), "{advice}\n  {}\n", found.join("\n  "));
}

/// Places where one of the words stands in code, in the files that `applies` picks.
fn places(words: &[&str], applies: impl Fn(&SourceFile) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust_files().iter().filter(|file| applies(file)) {
        for (number, line) in file.code_lines() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    found
}

/// Whether the word stands in the line, and not as the end or the start of another one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        let after = line[place + word.len()..].chars().next();
        let starts = !word.starts_with(is_part) || !before.is_some_and(is_part);
        let ends = !word.ends_with(is_part) || !after.is_some_and(is_part);
        starts && ends
    })
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent = rust_files().into_iter().filter(|file| !file.text.starts_with("//!")).map(|file| file.path);
    assert_none(
        &silent.collect::<Vec<_>>(),
        "Open each file with a `//!` paragraph that says what it is for:",
    );
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long = rust_files().into_iter().filter(|file| file.code().lines().count() > LINES_MAX);
    let long: Vec<String> =
        long.map(|file| format!("{}: {} lines", file.path, file.code().lines().count())).collect();
    assert_none(&long, "Split these files by what they know; 400 lines without tests are the limit:");
}

#[test]
fn the_protocol_core_opens_nothing_spawns_nothing_and_logs_nothing() {
    let words = ["tokio", "actix", "std::net", "std::fs", "std::thread", "std::process", "std::env", "log::"];
    let found = places(&words, |file| file.path.starts_with("actors/mqtt/"));
    assert_none(&found, "Crate mqtt is pure: bytes, events and `now` come in, packets and actions go out:");
}

#[test]
fn the_protocol_core_never_asks_what_time_it_is() {
    let found = places(&["Instant::now", "SystemTime::now"], |file| file.path.starts_with("actors/mqtt/"));
    assert_none(&found, "Crate mqtt gets `now` as an argument:");
}

#[test]
fn the_actors_know_nothing_of_http() {
    let words = ["actix_web", "actix_files", "clap"];
    let found = places(&words, |file| file.path.starts_with("actors/"));
    assert_none(&found, "HTTP and the command line are doors and belong to src/:");
}

#[test]
fn rumqttc_is_named_in_one_file() {
    let is_product = |file: &SourceFile| file.path.starts_with("src/") || file.path.starts_with("actors/");
    let mut named = places(&["rumqttc"], |file| is_product(file) && file.path != "src/cli/client.rs");
    named.retain(|place| !place.contains("fuzz/"));
    assert_none(&named, "Only src/cli/client.rs names rumqttc, so that it can be replaced there:");
}

#[test]
fn nothing_that_may_be_absent_is_unwrapped() {
    let found = places(&[".unwrap()"], |_| true);
    assert_none(&found, "Handle the absence, or say with `expect` why it cannot be:");
}

#[test]
fn data_never_passes_a_mailbox_bound() {
    let found = places(&["do_send("], |_| true);
    assert_none(&found, "do_send ignores the mailbox's bound; use send, try_send or an awaited reply:");
}

#[test]
fn nothing_is_left_for_later_in_code() {
    let mut found = Vec::new();
    for file in rust_files().iter().filter(|file| file.path != "tests/tidy.rs") {
        for (index, line) in file.text.lines().enumerate() {
            for word in ["todo!", "dbg!", "unimplemented!"].iter().filter(|word| has_word(line, word)) {
                found.push(format!("{}:{}: {word}", file.path, index + 1));
            }
        }
    }
    assert_none(&found, "Finish these, or leave them out:");
}

#[test]
fn no_name_says_nothing() {
    let empty = ["utils", "util", "common", "helpers", "helper", "manager", "types", "misc"];
    let mut found = Vec::new();
    for file in rust_files() {
        for part in file.path.trim_end_matches(".rs").split('/') {
            if empty.contains(&part) {
                found.push(file.path.clone());
            }
        }
        for (number, line) in file.code_lines() {
            let module = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = module.strip_prefix("mod ").and_then(|rest| rest.split([';', ' ', '{']).next());
            if name.is_some_and(|name| empty.contains(&name)) {
                found.push(format!("{}:{number}: {module}", file.path));
            }
        }
    }
    assert_none(&found, "Name these by what they know, not by what they are:");
}

#[test]
fn domain_types_are_never_serialised() {
    let may = |file: &SourceFile| {
        let of_the_file = ["actors/config_store/file.rs", "actors/config_store/document.rs"];
        of_the_file.contains(&file.path.as_str()) || file.path.starts_with("actors/store/")
    };
    let found = places(&["Serialize"], |file| file.path.starts_with("actors/") && !may(file));
    let advice = "A domain type never becomes JSON by itself: shapes live in src/web/dto.rs and in \
                  actors/config_store/, so that a password cannot slip out:";
    assert_none(&found, advice);
}

#[test]
fn the_web_opens_no_file() {
    let found = places(&["std::fs", "tokio::fs", "File::open"], |file| {
        file.path.starts_with("src/web/") && file.path != "src/web/process.rs"
    });
    assert_none(&found, "A web handler sends a message and shapes the reply; it opens no file:");
}

#[test]
fn only_the_settings_read_the_environment() {
    // Which variables secret_source.rs may read, `secrets_are_looked_up_in_one_place` holds.
    let may = ["src/settings/", "src/logging.rs", "src/main.rs", "src/cli/", "actors/secret_source.rs"];
    let found = places(&["env::var", "env::vars", "env::var_os"], |file| {
        !may.iter().any(|start| file.path.starts_with(start))
    });
    assert_none(&found, "The environment is read in src/settings/ and handed on as checked values:");
}

#[test]
fn secrets_are_looked_up_in_one_place() {
    let path = "actors/secret_source.rs";
    let read = places(&["env::var_os(name)"], |file| file.path == path);
    assert_eq!(read.len(), 1, "{path} reads one variable, the one that a definition names, in one place");
    let others =
        places(&["env::var", "env::vars", "env::vars_os", "env::var_os(\""], |file| file.path == path);
    assert_none(&others, "A secret's source is the variable that a definition names, and no other:");
    let found = places(&["strip_prefix(\"env:\")", "strip_prefix(\"file:\")"], |file| file.path != path);
    assert_none(&found, "What env: and file: stand for is known in actors/secret_source.rs only:");
}

#[test]
fn no_text_names_a_place_that_only_one_machine_has() {
    let endings = [
        ".rs",
        ".toml",
        ".md",
        ".yaml",
        ".yml",
        ".html",
        ".js",
        ".mjs",
        ".css",
        ".json",
        ".sh",
        "run",
        "Dockerfile",
        ".svg",
        ".txt",
        ".lock",
        ".gitignore",
    ];
    // Put together here, so that this file does not name them itself.
    let roots =
        [["/ho", "me/"].concat(), ["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/Us", "ers/"].concat()];
    let mut found = Vec::new();
    for file in files(&endings) {
        for (index, line) in file.text.lines().enumerate() {
            if roots.iter().any(|root| names_path(line, root)) {
                found.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "Name paths from the root of the tree, or from a variable such as $HOME:");
}

/// Whether an absolute path under `root` stands in the line, and not a part of a URL or a longer path.
fn names_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}".contains(c))
    })
}

#[test]
fn the_readme_names_the_test_command() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    assert!(readme.contains("tests/run"), "README.md is to exist and to name tests/run as the test command");
}

#[test]
fn the_card_is_kept_at_the_top_of_the_tree() {
    let wanted = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "actors",
        "benches",
        "clippy.toml",
        "data",
        "settings",
        "src",
        "static",
        "tests",
    ];
    let missing = wanted.iter().filter(|name| !root().join(name).exists()).map(|name| (*name).to_owned());
    assert_none(&missing.collect::<Vec<_>>(), "These belong to the top of the tree and are missing:");
}

#[test]
fn the_words_of_this_test_are_found_as_words_only() {
    assert!(has_word("use actix_web::web;", "actix_web") && !has_word("use tokio_openssl;", "tokio"));
    assert!(has_word("log::info!()", "log::") && !has_word("message_log::Log", "log::"));
    assert_eq!(without_comment("    // use tokio"), "");
    assert_eq!(without_comment("let url = \"mqtt://host\"; // rumqttc"), "let url = \"mqtt://host\"; ");
    assert!(names_path(&["see /ho", "me/someone"].concat(), &["/ho", "me/"].concat()));
    assert!(!names_path(&["https://host/ho", "me/page"].concat(), &["/ho", "me/"].concat()));
}
