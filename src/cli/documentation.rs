//! What `mqtt-proxy check --documentation` prints: tables of all settings, for README.md and for who has only the program.

use clap::CommandFactory;

use super::CommandLine;
use crate::settings;

/// The keys, the other environment variables, and the flags, as tables of Markdown.
pub fn tables() -> String {
    let mut text = settings::documentation();
    text.push_str("\n| flag | what it is |\n|---|---|\n");
    for argument in CommandLine::command().get_arguments() {
        let Some(long) = argument.get_long() else { continue };
        let values = argument.get_value_names().filter(|_| argument.get_action().takes_values());
        let value: String = values.unwrap_or_default().iter().map(|name| format!(" {name}")).collect();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("| `--{long}{value}` | {} |\n", help.trim().replace('|', "\\|")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the tables stand in README.md.
    const MARKERS: (&str, &str) = ("<!-- settings -->\n", "<!-- end of settings -->\n");

    #[test]
    fn the_readme_has_the_tables_of_settings_as_they_are_printed() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once(MARKERS.0).expect("README.md has the first marker");
        let (shown, _) = rest.split_once(MARKERS.1).expect("README.md has the second marker");
        let printed = tables();
        if let Some((is, wanted)) = shown.lines().zip(printed.lines()).find(|(is, wanted)| is != wanted) {
            panic!("README.md says\n  {is}\nand not\n  {wanted}\nits section Building says how to renew it");
        }
        assert!(shown == printed, "README.md has more or fewer lines than `check --documentation` prints");
    }

    #[test]
    fn flags_are_documented_with_their_values() {
        let printed = tables();
        for start in ["| `--config FILE` | ", "| `--listen IP:PORT` | ", "| `--upstream URL` | "] {
            assert!(printed.contains(start), "{start}\n{printed}");
        }
    }
}
