//! One layer of settings: what a file, the environment or the flags say, each value checked where it stands.

use std::path::Path;

use config::ValueKind;
use toml::de::{DeTable, DeValue};

use super::environment::{Environment, PREFIX};
use super::keys::{self, Key, Kind};
use super::{Flags, SettingsError};

/// Known keys with values of their kind.
pub(super) type Layer = Vec<(&'static str, ValueKind)>;

/// The layer of a TOML file.
pub(super) fn of_file(path: &Path) -> Result<Layer, SettingsError> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::one(format!("{name}: cannot be read: {error}")))?;
    of_text(&name.to_string(), &text)
}

/// The layer of TOML text that is called `name` in messages.
pub(super) fn of_text(name: &str, text: &str) -> Result<Layer, SettingsError> {
    // What follows the first mistake is often only its consequence.
    let (table, mistakes) = DeTable::parse_recoverable(text);
    let offset = |mistake: &toml::de::Error| mistake.span().map_or(0, |span| span.start);
    if let Some(mistake) = mistakes.iter().min_by_key(|mistake| offset(mistake)) {
        let (line, column) = line_and_column(text, offset(mistake));
        let problem = format!("{name}: line {line}, column {column}: {}", mistake.message());
        return Err(SettingsError::one(problem));
    }
    let mut file = FileReader { name, text, layer: Layer::new(), problems: Vec::new() };
    file.read_table("", table.get_ref());
    SettingsError::none_of(file.problems).map(|()| file.layer)
}

/// The layer of the variables `MQTT_PROXY__SECTION__KEY`.
pub(super) fn of_environment(environment: &Environment) -> Result<Layer, SettingsError> {
    let mut layer = Layer::new();
    let mut problems = Vec::new();
    for (variable, text) in environment.settings() {
        let Some(path) = path_of(variable) else { continue };
        let place = format!("environment variable {variable}");
        match keys::find(&path) {
            None => problems.push(format!("{place}: unknown; {}", suggestion(&path, variable_of))),
            Some(key) => take(&mut layer, &mut problems, key, key.kind.read(text), &place, text),
        }
    }
    SettingsError::none_of(problems).map(|()| layer)
}

/// The layer of the command-line flags.
pub(super) fn of_flags(flags: &Flags) -> Result<Layer, SettingsError> {
    let mut layer = Layer::new();
    let mut problems = Vec::new();
    let mut flag = |name: &str, path: &str, value: Option<ValueKind>, text: &str| {
        if let (Some(key), Some(value)) = (keys::find(path), value) {
            take(&mut layer, &mut problems, key, value, name, text);
        }
    };
    let listen = (!flags.listen.is_empty()).then(|| flags.listen.clone().into());
    flag("--listen", "server.listen", listen, &flags.listen.join(", "));
    let tls_listen = (!flags.tls_listen.is_empty()).then(|| flags.tls_listen.clone().into());
    flag("--tls-listen", "server.tls_listen", tls_listen, &flags.tls_listen.join(", "));
    let single = [
        ("--tls-cert", "server.tls_cert_path", &flags.tls_cert),
        ("--tls-key", "server.tls_key_path", &flags.tls_key),
        ("--web", "web.listen", &flags.web),
        ("--data", "data.dir", &flags.data),
    ];
    for (name, path, value) in single {
        let value = value.as_deref();
        flag(name, path, value.map(Into::into), value.unwrap_or_default());
    }
    SettingsError::none_of(problems).map(|()| layer)
}

/// Puts an allowed value into the layer, or says at which place it is not allowed.
fn take(
    layer: &mut Layer,
    problems: &mut Vec<String>,
    key: &'static Key,
    value: ValueKind,
    place: &str,
    text: &str,
) {
    if key.kind.admits(&value) {
        layer.push((key.path, value));
        return;
    }
    if let Some(problem) = key.kind.problem(&value) {
        return problems.push(format!("{place}: {problem}"));
    }
    let allowed = key.kind.allowed();
    let text = key.kind.wrong_part(&value).unwrap_or(text);
    problems.push(match key.kind {
        Kind::Secret => format!("{place}: must be {allowed}"),
        _ => format!("{place}: {} must be {allowed}", quoted(text)),
    });
}

/// A value for a message: on one line, and not longer than one.
fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(CHARS_MAX).collect();
    if cut.len() < line.len() { format!("'{cut}...'") } else { format!("'{cut}'") }
}

/// The environment variable that sets a key.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// The key that an environment variable sets, whether it exists or not.
pub(super) fn path_of(variable: &str) -> Option<String> {
    variable.strip_prefix(PREFIX).map(|rest| rest.replace("__", ".").to_ascii_lowercase())
}

fn suggestion(path: &str, written: fn(&str) -> String) -> String {
    match keys::nearest(path) {
        Some(known) => format!("did you mean {}?", written(known)),
        None => "settings/default.toml lists every key".to_owned(),
    }
}

/// Line and column, from 1, of a byte offset; columns count characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

struct FileReader<'a> {
    name: &'a str,
    text: &'a str,
    layer: Layer,
    problems: Vec<String>,
}

impl FileReader<'_> {
    fn read_table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            let (line, _) = line_and_column(self.text, name.span().start);
            let place = format!("{}: line {line}: {path}", self.name);
            if let Some(key) = keys::find(&path) {
                let text = self.text.get(value.span()).unwrap_or_default();
                let read = value_of(value.get_ref());
                take(&mut self.layer, &mut self.problems, key, read, &place, text);
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.read_table(&format!("{path}."), inner),
                DeValue::Table(_) if keys::is_section(&path) => {}
                _ if keys::is_section(&path) => {
                    self.problems.push(format!("{place}: must be a section, [{path}]"));
                }
                _ => {
                    let suggestion = suggestion(&path, str::to_owned);
                    self.problems.push(format!("{place}: unknown key; {suggestion}"));
                }
            }
        }
    }
}

/// The value in the words of `config`; `Nil` stands for what no key can be.
pub(super) fn value_of(value: &DeValue<'_>) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(ValueKind::Nil, ValueKind::I64)
        }
        DeValue::Boolean(yes) => ValueKind::Boolean(*yes),
        DeValue::Array(values) => {
            ValueKind::Array(values.iter().map(|value| value_of(value.get_ref()).into()).collect())
        }
        DeValue::Table(table) => {
            let field = |(name, value): (&_, &toml::Spanned<DeValue<'_>>)| {
                let name: &toml::Spanned<toml::de::DeString<'_>> = name;
                (name.get_ref().to_string(), value_of(value.get_ref()).into())
            };
            ValueKind::Table(table.iter().map(field).collect())
        }
        DeValue::Float(_) | DeValue::Datetime(_) => ValueKind::Nil,
    }
}
