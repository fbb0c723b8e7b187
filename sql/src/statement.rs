//! One statement of the application, held against what may run inside a database transaction that
//! is not the application's to end.
//!
//! Two things together keep a statement from ending it:
//!
//! - It is *one* statement. It is always prepared, never sent as plain text, and PostgreSQL and
//!   MySQL refuse to prepare two; SQLite prepares any number, so there what follows a semicolon is
//!   refused here.
//! - Its first word is on a list of those that change or read rows. All statements that control
//!   transactions have other words, and so do those with which MySQL commits on the side, such as
//!   `CREATE`, and those that run others that nobody has seen, such as `EXECUTE`.

use sqlx::{Execute, SqlStr};

use crate::connection::StatementError;
use crate::database::SqlDatabase;

/// A statement that may run.
pub struct Statement<DB: SqlDatabase> {
    sql: SqlStr,
    arguments: Option<DB::Arguments>,
    prepared: Option<DB::Statement>,
    persistent: bool,
}

impl<DB: SqlDatabase> Statement<DB> {
    /// One of our own.
    pub(crate) fn own(sql: SqlStr, arguments: DB::Arguments) -> Self {
        Self { sql, arguments: Some(arguments), prepared: None, persistent: true }
    }

    /// One of the application.
    pub(crate) fn checked<'q>(mut query: impl Execute<'q, DB>) -> Result<Self, StatementError> {
        let arguments = query
            .take_arguments()
            .map_err(|error| StatementError::Database(sqlx::Error::Encode(error)))?
            .unwrap_or_default();
        let (prepared, persistent) = (query.statement().cloned(), query.persistent());
        let sql = query.sql();
        check::<DB>(sql.as_str())?;
        Ok(Self { sql, arguments: Some(arguments), prepared, persistent })
    }
}

impl<DB: SqlDatabase> Execute<'_, DB> for Statement<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.prepared.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

fn check<DB: SqlDatabase>(sql: &str) -> Result<(), StatementError> {
    let word = first_word(sql);
    if !DB::STATEMENTS.iter().any(|allowed| word.eq_ignore_ascii_case(allowed)) {
        return Err(StatementError::Refused { word: word.to_owned(), allowed: DB::STATEMENTS });
    }
    if !DB::PREPARES_ONE && has_second_statement(sql) {
        return Err(StatementError::Several);
    }
    Ok(())
}

/// The word that a statement begins with. There is none behind comments that MySQL executes, or
/// that end elsewhere in PostgreSQL, where they nest.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
        if rest.starts_with("--") {
            rest = after(rest, "\n");
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let text = comment.split("*/").next().unwrap_or(comment);
            if text.starts_with('!') || text.starts_with("M!") || text.contains("/*") {
                return "";
            }
            rest = after(comment, "*/");
        } else {
            break;
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    &rest[..end]
}

/// Whether anything but comments follows the end of the first statement, as SQLite reads it.
fn has_second_statement(sql: &str) -> bool {
    let mut rest = sql;
    let mut ended = false;
    while let Some(c) = rest.chars().next() {
        let comment = rest.starts_with("--") || rest.starts_with("/*");
        if ended && !comment && !c.is_ascii_whitespace() && c != ';' {
            return true;
        }
        ended |= c == ';';
        rest = match c {
            _ if rest.starts_with("--") => after(rest, "\n"),
            _ if rest.starts_with("/*") => after(&rest[2..], "*/"),
            // A doubled quote ends one text and begins the next: nothing lies between.
            '\'' | '"' | '`' => after(&rest[1..], &rest[..1]),
            '[' => after(rest, "]"),
            _ => &rest[c.len_utf8()..],
        };
    }
    false
}

fn after<'a>(text: &'a str, end: &str) -> &'a str {
    text.find(end).map_or("", |at| &text[at + end.len()..])
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    fn refused<DB: SqlDatabase>(sql: &str) -> bool {
        check::<DB>(sql).is_err()
    }

    const CONTROLLING: [&str; 17] = [
        "COMMIT",
        " commit ;",
        "-- a comment\nROLLBACK",
        "/* a comment */ Begin",
        "/*! COMMIT */",
        "/*M! COMMIT */",
        "/* /* */ SELECT 1 */ COMMIT",
        "SAVEPOINT a",
        "RELEASE a",
        "END",
        "ABORT",
        "START TRANSACTION",
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        "PREPARE TRANSACTION 'a'",
        "EXECUTE a",
        "",
        ";",
    ];

    #[test]
    fn statements_that_control_transactions_are_refused() {
        for sql in CONTROLLING {
            assert!(refused::<sqlx::Sqlite>(sql), "{sql}");
            #[cfg(feature = "postgres")]
            assert!(refused::<sqlx::Postgres>(sql), "{sql}");
            #[cfg(feature = "mysql")]
            assert!(refused::<sqlx::MySql>(sql), "{sql}");
        }
        for sql in ["PRAGMA read_uncommitted = 1", "ATTACH 'other' AS other", "VACUUM"] {
            assert!(refused::<sqlx::Sqlite>(sql), "{sql}");
        }
        #[cfg(feature = "mysql")]
        for sql in ["CREATE TABLE a (b INT)", "CALL a()", "LOCK TABLES a WRITE", "TRUNCATE a"] {
            assert!(refused::<sqlx::MySql>(sql), "{sql}");
        }
    }

    #[test]
    fn statements_on_rows_are_allowed() {
        for sql in [
            "SELECT 1",
            "\n  insert INTO a VALUES (1);",
            "-- why\nUPDATE a SET b = 'COMMIT; --'",
            "/* why */ DELETE FROM a ; -- done",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "(SELECT 1)",
        ] {
            assert!(!refused::<sqlx::Sqlite>(sql), "{sql}");
            #[cfg(feature = "postgres")]
            assert!(!refused::<sqlx::Postgres>(sql), "{sql}");
            #[cfg(feature = "mysql")]
            assert!(!refused::<sqlx::MySql>(sql), "{sql}");
        }
    }

    #[test]
    fn a_second_statement_is_found_behind_texts_and_comments() {
        for sql in [
            "SELECT 1; COMMIT",
            "SELECT 1;;COMMIT",
            "SELECT ';'; COMMIT",
            "SELECT 'it''s'; COMMIT",
            "SELECT \"a;\" FROM [b;]; COMMIT",
            "SELECT 1 -- ;\n; COMMIT",
            "SELECT 1 /* ; */; /* ; */ COMMIT",
            "SELECT 'a\\'; COMMIT --'",
        ] {
            assert!(has_second_statement(sql), "{sql}");
            assert!(refused::<sqlx::Sqlite>(sql), "{sql}");
        }
        for sql in ["SELECT 1", "SELECT 1;", "SELECT ';COMMIT'", "SELECT 1; -- ;COMMIT", "/*/;a*/"]
        {
            assert!(!has_second_statement(sql), "{sql}");
        }
    }
}
