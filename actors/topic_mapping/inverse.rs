//! The way back: the mapping that undoes another one, where there is exactly one.

use super::TopicMapping;
use super::pattern;
use super::rewrite::{Part, RewriteRule};

impl TopicMapping {
    /// The mapping that leads back: for each topic that starts with the prefix to strip and that a rule matches, where
    /// there are rules, what it makes of the mapped topic is the topic.
    ///
    /// # Errors
    /// A text that names the rule that cannot be undone, or the two that lead to the same topic.
    pub fn inverse(&self) -> Result<TopicMapping, String> {
        self.check()?;
        let mut rewrite: Vec<RewriteRule> = Vec::with_capacity(self.rewrite.len());
        for (index, rule) in self.rewrite.iter().enumerate() {
            let undone =
                rule.inverse().map_err(|problem| format!("rewrite rule {}: {problem}", index + 1))?;
            for (earlier, other) in rewrite.iter().enumerate() {
                if let Some(topic) = pattern::meeting(other.from().as_str(), undone.from().as_str()) {
                    return Err(format!(
                        "rewrite rules {} and {} cannot be undone: both lead to {topic}",
                        earlier + 1,
                        index + 1
                    ));
                }
            }
            rewrite.push(undone);
        }
        let inverse = TopicMapping { strip: self.add.clone(), add: self.strip.clone(), rewrite };
        inverse.check().map_err(|problem| format!("the way back: {problem}"))?;
        Ok(inverse)
    }
}

impl RewriteRule {
    /// The rule that undoes this one.
    fn inverse(&self) -> Result<RewriteRule, String> {
        let mut filter_levels = Vec::with_capacity(self.levels().len());
        // For each `+` of `from`, which `+` of the way back it is.
        let mut places = vec![None; self.from().as_str().split('/').filter(|level| *level == "+").count()];
        let mut ones = 0;
        for (index, level) in self.levels().iter().enumerate() {
            let is_last = index + 1 == self.levels().len();
            filter_levels.push(match &level[..] {
                [Part::Text(text)] => text.as_str(),
                [Part::One(number)] => {
                    ones += 1;
                    if places[*number].replace(ones).is_some() {
                        return Err(format!("cannot be undone: it uses {{{}}} twice", number + 1));
                    }
                    "+"
                }
                [Part::Rest] if is_last => "#",
                [Part::Rest] => return Err("cannot be undone: {#} must be the last level".to_owned()),
                _ => {
                    return Err("cannot be undone: {1}, {2} and {#} must each be a whole level".to_owned());
                }
            });
        }
        let (mut number, mut to_levels) = (0, Vec::new());
        for level in self.from().as_str().split('/') {
            to_levels.push(match level {
                "+" => {
                    number += 1;
                    let place = places[number - 1]
                        .ok_or_else(|| format!("cannot be undone: it does not use {{{number}}}"))?;
                    format!("{{{place}}}")
                }
                "#" if filter_levels.last() == Some(&"#") => "{#}".to_owned(),
                "#" => return Err("cannot be undone: it does not use {#}".to_owned()),
                _ => level.replace('{', "{{").replace('}', "}}"),
            });
        }
        RewriteRule::parse(&filter_levels.join("/"), &to_levels.join("/"))
            .map_err(|problem| format!("cannot be undone: the way back has {problem}"))
    }
}
