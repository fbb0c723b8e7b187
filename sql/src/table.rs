//! The name of the table of marks.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest identifier that all three databases take.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// The name of the table that keeps the high-water marks, perhaps with its schema.
///
/// A table belongs to one cluster and one application: two applications in one database, or one
/// application of two clusters, take a table each.
///
/// ```
/// use waltz_sql::TableName;
///
/// assert_eq!(TableName::default().to_string(), "waltz_marks");
/// assert!("orders.waltz_marks".parse::<TableName>().is_ok());
/// assert!("marks; DROP TABLE accounts".parse::<TableName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(String);

/// Why a text is not the name of a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} can't be the name of a table: one or two identifiers of ASCII letters, digits and underscores are, separated by a dot, each of at most 63 characters and not starting with a digit"
)]
pub struct TableNameError(String);

impl TableName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TableName {
    fn default() -> Self {
        Self("waltz_marks".to_owned())
    }
}

impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(name: &str) -> Result<Self, TableNameError> {
        let parts = name.split('.').count();
        if parts <= 2 && name.split('.').all(is_identifier) {
            Ok(Self(name.to_owned()))
        } else {
            Err(TableNameError(name.to_owned()))
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() <= MAX_IDENTIFIER_BYTES
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_identifiers_are_names() {
        for name in ["waltz_marks", "_m1", "schema.marks"] {
            assert_eq!(name.parse::<TableName>().expect(name).to_string(), name);
        }
        let long = "m".repeat(MAX_IDENTIFIER_BYTES + 1);
        for name in ["", ".", "a.b.c", "1a", "a b", "a;b", "a-b", "`a`", "\"a\"", "märke", &long] {
            assert_eq!(name.parse::<TableName>(), Err(TableNameError(name.to_owned())));
        }
    }
}
