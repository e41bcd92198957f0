//! Holds `tests/integration/conformance/statements.toml`, the list of what the standards demand: complete, each
//! statement once, and every test that it names is there and runs.

use std::collections::HashSet;
use std::fs;

use super::{assert_none, root};

/// The list, from the root of the tree.
const LIST: &str = "tests/integration/conformance/statements.toml";

/// How many normative statements each standard has.
const STATEMENTS: &[(&str, usize)] = &[("3.1.1", 141), ("5.0", 253)];

/// How many statements that bind a server may still be without test and reason: this number only ever gets smaller.
const UNCOVERED_MAX: usize = 0;

/// One statement of a standard.
struct Statement {
    /// `5.0 MQTT-3.1.2-24`.
    name: String,
    fields: toml::Table,
}

impl Statement {
    fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(toml::Value::as_str).unwrap_or_default()
    }

    fn is_uncovered(&self) -> bool {
        self.fields.contains_key("uncovered")
    }

    fn binds_a_server(&self) -> bool {
        self.text("binds") != "client"
    }

    /// The tests that hold it.
    fn tests(&self) -> Vec<&str> {
        let tests = self.fields.get("tests").and_then(toml::Value::as_array);
        tests.into_iter().flatten().filter_map(toml::Value::as_str).collect()
    }

    /// What is wrong with the entry itself.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let known = ["id", "version", "binds", "says", "tests", "reason", "uncovered"];
        faults.extend(
            self.fields.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("{key}?")),
        );
        if !STATEMENTS.iter().any(|(version, _)| *version == self.text("version")) {
            faults.push("an unknown version".to_owned());
        }
        if !self.text("id").starts_with("MQTT-") || self.text("says").is_empty() {
            faults.push("no id or no words".to_owned());
        }
        if !["server", "client", "both"].contains(&self.text("binds")) {
            faults.push("binds is server, client or both".to_owned());
        }
        let ways =
            ["tests", "reason", "uncovered"].iter().filter(|way| self.fields.contains_key(**way)).count();
        if ways != 1 {
            faults.push(format!("one of tests, reason and uncovered is to be there, not {ways}"));
        }
        let is_empty =
            match (self.fields.get("tests"), self.fields.get("reason"), self.fields.get("uncovered")) {
                (Some(tests), ..) => {
                    tests.as_array().is_none_or(|all| all.is_empty() || all.len() != self.tests().len())
                }
                (_, Some(_), _) => self.text("reason").is_empty(),
                (.., uncovered) => uncovered.is_some_and(|value| value.as_bool() != Some(true)),
            };
        if is_empty {
            faults.push("tests is a list of names, reason a sentence, uncovered true".to_owned());
        }
        faults.into_iter().map(|fault| format!("{}: {fault}", self.name)).collect()
    }
}

fn statements() -> Vec<Statement> {
    let text = fs::read_to_string(root().join(LIST)).unwrap_or_else(|error| panic!("{LIST}: {error}"));
    let mut list: toml::Table = text.parse().unwrap_or_else(|error| panic!("{LIST}: {error}"));
    assert_eq!(list.len(), 1, "{LIST} holds entries of [[statement]] only");
    let Some(toml::Value::Array(entries)) = list.remove("statement") else {
        panic!("{LIST} has no [[statement]]")
    };
    let statement = |entry| {
        let toml::Value::Table(fields) = entry else { panic!("{LIST}: {entry:?} is no entry") };
        let text = |field: &str| fields.get(field).and_then(toml::Value::as_str).unwrap_or("?").to_owned();
        Statement { name: format!("{} {}", text("version"), text("id")), fields }
    };
    entries.into_iter().map(statement).collect()
}

/// What is wrong with a test's path such as `conformance::will::its_payload_is_any_bytes`; `None` if it runs.
fn fault_of_test(path: &str) -> Option<String> {
    let (module, name) = path.rsplit_once("::")?;
    let file = format!("tests/integration/{}.rs", module.replace("::", "/"));
    let Ok(source) = fs::read_to_string(root().join(&file)) else {
        return Some(format!("{file} is not there"));
    };
    fault_in_source(&source, name).map(|fault| format!("{file}: {name} {fault}"))
}

fn fault_in_source(source: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let start = format!("fn {name}(");
    let Some(place) = lines.iter().position(|line| line.trim_start().starts_with(&start)) else {
        return Some("is not there".to_owned());
    };
    let above = || lines[..place].iter().rev().map(|line| line.trim());
    let attributes: Vec<&str> =
        above().take_while(|line| line.starts_with("#[") || line.starts_with("//")).collect();
    if attributes.iter().any(|line| line.starts_with("#[ignore")) {
        return Some("is ignored".to_owned());
    }
    // A block of tests for both versions is the last thing that starts at the margin before a test in it.
    let block =
        lines[..place].iter().rev().find(|line| !line.is_empty() && !line.starts_with([' ', '/', '#', '}']));
    let in_both =
        lines[place].starts_with(' ') && block.is_some_and(|line| line.starts_with("in_both_versions!"));
    (!in_both && !attributes.contains(&"#[test]")).then(|| "is no test".to_owned())
}

#[test]
fn every_statement_of_both_standards_is_listed_once() {
    let all = statements();
    let mut faults: Vec<String> = all.iter().flat_map(Statement::faults).collect();
    let mut seen = HashSet::new();
    faults.extend(all.iter().filter(|one| !seen.insert(&one.name)).map(|one| format!("{}: twice", one.name)));
    for (version, wanted) in STATEMENTS {
        let count = all.iter().filter(|statement| statement.text("version") == *version).count();
        if count != *wanted {
            faults.push(format!("MQTT {version} has {wanted} normative statements, and {count} are listed"));
        }
    }
    assert_none(&faults, &format!("Mend {LIST}:"));
}

#[test]
fn every_test_that_a_statement_names_is_there_and_runs() {
    let all = statements();
    let faults = all.iter().flat_map(|statement| {
        let name = &statement.name;
        statement.tests().into_iter().filter_map(fault_of_test).map(move |fault| format!("{name}: {fault}"))
    });
    assert_none(&faults.collect::<Vec<_>>(), &format!("{LIST} names tests that hold nothing:"));
}

#[test]
fn what_is_not_covered_only_gets_less() {
    let all = statements();
    let gaps = all.iter().filter(|statement| statement.is_uncovered() && statement.binds_a_server());
    let gaps: Vec<String> = gaps.map(|statement| statement.name.clone()).collect();
    if gaps.len() > UNCOVERED_MAX {
        assert_none(&gaps, &format!("{} statements are without tests, {UNCOVERED_MAX} may be:", gaps.len()));
    }
    assert_eq!(gaps.len(), UNCOVERED_MAX, "there are fewer gaps now: let UNCOVERED_MAX follow");
}

#[test]
fn tests_are_told_from_what_only_looks_like_them() {
    let source = "\
/// Helps.
fn helps(version: Version) {}

in_both_versions! {
    fn in_both(version: Version) {
        fn within() {}
    }
}

#[test]
fn alone() {}

#[test]
#[ignore = \"not mended\"]
fn ignored() {}

mod tests {
    fn in_a_module() {}
}
";
    assert_eq!(fault_in_source(source, "in_both"), None);
    assert_eq!(fault_in_source(source, "alone"), None);
    assert_eq!(fault_in_source(source, "helps").as_deref(), Some("is no test"));
    assert_eq!(fault_in_source(source, "ignored").as_deref(), Some("is ignored"));
    assert_eq!(fault_in_source(source, "in_a_module").as_deref(), Some("is no test"));
    assert_eq!(fault_in_source(source, "absent").as_deref(), Some("is not there"));
}
