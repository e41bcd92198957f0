//! What is wrong with the settings: one line a problem, each with its place and what is allowed there.

/// Everything that is wrong with the settings. Never empty, and never with a secret in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    /// One problem.
    pub(crate) fn one(problem: impl Into<String>) -> SettingsError {
        SettingsError { problems: vec![problem.into()] }
    }

    /// `Ok` where there are no problems.
    pub(super) fn none_of(problems: Vec<String>) -> Result<(), SettingsError> {
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }

    /// The problems, each one line of text.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl std::fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for SettingsError {}
