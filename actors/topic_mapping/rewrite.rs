//! One rule that rewrites topics: a Topic Filter, and the topic that comes out where it matches.

use mqtt::TopicFilter;

use super::Unmappable;

/// A rule: what matches `from` becomes `to`. In `to`, `{1}` is the level that the first `+` stood for, `{2}` the
/// second, and `{#}` all levels that `#` stood for; `{{` and `}}` are braces. Where `#` stood for no level at all
/// (`a/#` matches `a`), a level that is `{#}` alone goes with its `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    from: TopicFilter,
    to: String,
    levels: Vec<Level>,
}

/// One level of `to`: what it is put together of.
pub(super) type Level = Vec<Part>;

/// A piece of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Taken as it is.
    Text(String),
    /// What a `+` of `from` stood for; the first one is 0.
    One(usize),
    /// What the `#` of `from` stood for.
    Rest,
}

/// What the wildcards of `from` stood for in one topic.
#[derive(Default)]
struct Captures<'a> {
    ones: Vec<&'a str>,
    /// `None` where `#` stood for no level.
    rest: Option<&'a str>,
}

impl RewriteRule {
    /// Checks both sides of a rule.
    ///
    /// # Errors
    /// A text that begins with the side that is wrong.
    pub fn parse(from: &str, to: &str) -> Result<RewriteRule, String> {
        let filter = TopicFilter::new(from.to_owned()).map_err(|error| format!("from: {error}"))?;
        if filter.shared().is_some() {
            return Err("from: must not be a shared subscription".to_owned());
        }
        let levels = parse_levels(to).map_err(|problem| format!("to: {problem}"))?;
        let ones = from.split('/').filter(|level| *level == "+").count();
        for part in levels.iter().flatten() {
            match part {
                Part::One(index) if *index >= ones => {
                    return Err(format!("to: {{{}}} has no counterpart: from has {ones} times +", index + 1));
                }
                Part::Rest if !from.ends_with('#') => {
                    return Err("to: {#} has no counterpart: from has no #".to_owned());
                }
                _ => {}
            }
        }
        Ok(RewriteRule { from: filter, to: to.to_owned(), levels })
    }

    /// What the rule matches.
    pub fn from(&self) -> &TopicFilter {
        &self.from
    }

    /// What comes out, as it was written.
    pub fn to(&self) -> &str {
        &self.to
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// What the rule makes of a topic; `None` where it does not match.
    pub(super) fn apply(&self, topic: &str) -> Option<Result<String, Unmappable>> {
        let captures = self.capture(topic)?;
        let mut rewritten = String::with_capacity(self.to.len() + topic.len());
        let mut is_first = true;
        for level in &self.levels {
            if captures.rest.is_none() && level[..] == [Part::Rest] {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                rewritten.push('/');
            }
            for part in level {
                rewritten.push_str(match part {
                    Part::Text(text) => text,
                    // Each index was checked against the number of `+`, and each of these matched a level.
                    Part::One(index) => captures.ones.get(*index).copied().unwrap_or_default(),
                    Part::Rest => captures.rest.unwrap_or_default(),
                });
            }
        }
        Some(match rewritten.starts_with('$') && !self.to.starts_with('$') {
            true => Err(Unmappable::Dollar),
            false if rewritten.is_empty() => Err(Unmappable::Empty),
            false => Ok(rewritten),
        })
    }

    /// Holds the topic against `from`, level for level.
    fn capture<'a>(&self, topic: &'a str) -> Option<Captures<'a>> {
        let from = self.from.as_str();
        // A prefix that was stripped may have left nothing.
        if topic.is_empty() || topic.starts_with('$') && from.starts_with(['+', '#']) {
            return None;
        }
        let mut captures = Captures::default();
        let mut left = Some(topic);
        for wanted in from.split('/') {
            if wanted == "#" {
                captures.rest = left;
                return Some(captures);
            }
            let (level, tail) = match left?.split_once('/') {
                Some((level, tail)) => (level, Some(tail)),
                None => (left?, None),
            };
            match wanted {
                "+" => captures.ones.push(level),
                _ if wanted == level => {}
                _ => return None,
            }
            left = tail;
        }
        left.is_none().then_some(captures)
    }
}

/// Reads the right side of a rule.
fn parse_levels(to: &str) -> Result<Vec<Level>, String> {
    if to.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if to.len() > super::TOPIC_BYTES_MAX {
        return Err("must not be longer than 65,535 bytes".to_owned());
    }
    to.split('/').map(parse_level).collect()
}

fn parse_level(level: &str) -> Result<Level, String> {
    let mut parts = Level::new();
    let mut text = String::new();
    let mut rest = level;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("{{") || rest.starts_with("}}") {
            text.push(next);
            rest = &rest[2..];
        } else if next == '{' {
            let (name, tail) = rest[1..].split_once('}').ok_or("a { has no }; a brace itself is {{ or }}")?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(capture(name)?);
            rest = tail;
        } else {
            match next {
                '}' => return Err("a } has no {; a brace itself is {{ or }}".to_owned()),
                '+' | '#' => return Err("must not have wildcards: write {1}, {2} or {#}".to_owned()),
                '\0' => return Err("must not have U+0000".to_owned()),
                _ => text.push(next),
            }
            rest = &rest[next.len_utf8()..];
        }
    }
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

/// What stands between braces.
fn capture(name: &str) -> Result<Part, String> {
    if name == "#" {
        return Ok(Part::Rest);
    }
    let is_plain = !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
    match name.parse::<usize>() {
        Ok(number) if is_plain && number > 0 => Ok(Part::One(number - 1)),
        _ => Err(format!("{{{name}}} must be a number from 1, as in {{1}}, or {{#}}")),
    }
}
