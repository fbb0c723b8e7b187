//! A bank's ledger as CSV: `date,transaction,account,amount_cents,balance_cents`.

use std::collections::BTreeMap;
use std::io::Read;

use thiserror::Error;

use crate::account::AccountId;
use crate::operation::Operation;

const COLUMNS: [&str; 5] = ["date", "transaction", "account", "amount_cents", "balance_cents"];

/// One row of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The day, `YYYY-MM-DD`.
    pub date: String,
    /// The bank's number of the transaction; unique in the file.
    pub transaction: u64,
    /// Whose.
    pub account: AccountId,
    /// What came, or left when negative.
    pub amount_cents: i64,
    /// The account's balance after it, as the bank says.
    pub balance_cents: i64,
}

impl Row {
    /// What to append for it.
    pub fn operation(&self) -> Operation {
        Operation::Entry {
            number: self.transaction,
            account: self.account,
            cents: self.amount_cents,
        }
    }
}

/// All rows of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The rows.
    pub rows: Vec<Row>,
}

/// Why a file is not a ledger.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The first line names other columns.
    #[error("line 1: expected the columns {}, found {found}", COLUMNS.join(","))]
    Columns {
        /// What it names.
        found: String,
    },
    /// A row has too many or too few fields, or is not CSV at all.
    #[error("line {line}: {reason}")]
    Shape {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A field can't be read.
    #[error("line {line}: {column} is {value:?}; expected {expected}")]
    Field {
        /// The line, from 1.
        line: u64,
        /// The field's column.
        column: &'static str,
        /// What is there.
        value: String,
        /// What should be.
        expected: &'static str,
    },
    /// Two rows have the same transaction number.
    #[error("line {line}: transaction {transaction} was already on line {first}")]
    Repeated {
        /// The line, from 1.
        line: u64,
        /// The number.
        transaction: u64,
        /// The line that had it first.
        first: u64,
    },
}

impl Ledger {
    /// Reads a whole ledger.
    ///
    /// # Errors
    /// The first broken line.
    pub fn read(input: impl Read) -> Result<Self, LedgerError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
        let header = reader.headers().map_err(|error| shape(1, error))?;
        if header.iter().ne(COLUMNS) {
            return Err(LedgerError::Columns {
                found: header.iter().collect::<Vec<_>>().join(","),
            });
        }
        let (mut rows, mut lines) = (Vec::new(), BTreeMap::new());
        let mut record = csv::StringRecord::new();
        loop {
            let next = reader.position().line();
            if !reader.read_record(&mut record).map_err(|error| shape(next, error))? {
                return Ok(Self { rows });
            }
            let line = record.position().map_or(next, csv::Position::line);
            let row = parse_row(line, &record)?;
            if let Some(first) = lines.insert(row.transaction, line) {
                let transaction = row.transaction;
                return Err(LedgerError::Repeated { line, transaction, first });
            }
            rows.push(row);
        }
    }

    /// The rows of each account, in order.
    pub fn by_account(&self) -> BTreeMap<AccountId, Vec<&Row>> {
        let mut accounts = BTreeMap::<_, Vec<_>>::new();
        for row in &self.rows {
            accounts.entry(row.account).or_default().push(row);
        }
        accounts
    }
}

fn shape(line: u64, error: csv::Error) -> LedgerError {
    let line = error.position().map_or(line, csv::Position::line);
    LedgerError::Shape { line, reason: error.to_string() }
}

fn parse_row(line: u64, record: &csv::StringRecord) -> Result<Row, LedgerError> {
    if record.len() != COLUMNS.len() {
        let reason = format!("{} fields; expected {}", record.len(), COLUMNS.len());
        return Err(LedgerError::Shape { line, reason });
    }
    let date = record[0].to_owned();
    if !is_date(&date) {
        let (column, expected) = (COLUMNS[0], "a date like 1993-01-31");
        return Err(LedgerError::Field { line, column, value: date, expected });
    }
    Ok(Row {
        line,
        date,
        transaction: parse(line, record, 1, "a number")?,
        account: AccountId(parse(line, record, 2, "a number")?),
        amount_cents: parse(line, record, 3, "whole cents")?,
        balance_cents: parse(line, record, 4, "whole cents")?,
    })
}

fn parse<T: std::str::FromStr>(
    line: u64,
    record: &csv::StringRecord,
    index: usize,
    expected: &'static str,
) -> Result<T, LedgerError> {
    record[index].parse().map_err(|_| LedgerError::Field {
        line,
        column: COLUMNS[index],
        value: record[index].to_owned(),
        expected,
    })
}

fn is_date(text: &str) -> bool {
    let digits =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = text.split('-').collect();
    matches!(parts[..], [year, month, day]
        if digits(year, 4) && digits(month, 2) && digits(day, 2)
            && ("01"..="12").contains(&month) && ("01"..="31").contains(&day))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "date,transaction,account,amount_cents,balance_cents\n";

    fn read(rows: &str) -> Result<Ledger, String> {
        Ledger::read(format!("{HEADER}{rows}").as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_keep_their_order_within_an_account() {
        let ledger =
            read("1993-01-01,5,1,100,100\n1993-01-02,4,2,50,50\n1993-01-02,9,1,-30,70\n").unwrap();
        let accounts = ledger.by_account();
        let of_one: Vec<_> = accounts[&AccountId(1)].iter().map(|row| row.line).collect();
        assert_eq!(of_one, [2, 4]);
        assert_eq!(
            ledger.rows[2].operation(),
            Operation::Entry { number: 9, account: AccountId(1), cents: -30 }
        );
    }

    #[test]
    fn broken_rows_are_named_by_their_line() {
        for (rows, expected) in [
            ("1993-01-01,1,1,1,1\n1993-01-01,x,1,1,1\n", "line 3: transaction is \"x\""),
            ("1993-01-01,1,1,1,1\n1993-01-02,2,1,1\n", "line 3: 4 fields; expected 5"),
            ("1993-01-01,1,1,1.5,1\n", "line 2: amount_cents is \"1.5\"; expected whole cents"),
            ("1993-13-01,1,1,1,1\n", "line 2: date is \"1993-13-01\""),
            (
                "1993-01-01,1,1,1,1\n1993-01-01,1,2,1,1\n",
                "line 3: transaction 1 was already on line 2",
            ),
        ] {
            let error = read(rows).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_their_line() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend_from_slice(b"1993-01-01,1,1,1,1\n1993-01-01,2,1,\xff,1\n");
        let error = Ledger::read(&bytes[..]).unwrap_err().to_string();
        assert!(error.starts_with("line 3: "), "{error}");
    }

    #[test]
    fn other_columns_are_refused() {
        let error = Ledger::read(&b"a,b\n1,2\n"[..]).unwrap_err().to_string();
        assert!(error.starts_with("line 1: expected the columns date,"), "{error}");
    }
}
