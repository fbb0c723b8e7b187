//! What a transaction of the bank says, and how it is written into the log.
//!
//! Three little-endian 64-bit words, or four: number, account, amount, and for a transfer the
//! receiving account. The transaction header tells the two apart.

use thiserror::Error;

use crate::account::AccountId;

const TRANSFER: u32 = 1;
const ENTRY: u32 = 2;

/// One thing that the bank does; its number names it among everything ever submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Money moves between two accounts of one partition, if the payer has it.
    Transfer {
        /// Names the operation.
        number: u64,
        /// Who pays.
        from: AccountId,
        /// Who is paid.
        to: AccountId,
        /// How much; more than zero.
        cents: i64,
    },
    /// A row of a ledger: money comes to an account, or leaves it.
    Entry {
        /// Names the operation.
        number: u64,
        /// Whose.
        account: AccountId,
        /// How much; negative when it leaves.
        cents: i64,
    },
}

/// Why a transaction is not one of this bank's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperationError {
    /// The header names no operation.
    #[error("transaction header {0} names no operation of the bank")]
    Header(u32),
    /// The data has another length than the operation.
    #[error("operation of {found} bytes, expected {expected}")]
    Length {
        /// Bytes at hand.
        found: usize,
        /// Bytes of such an operation.
        expected: usize,
    },
}

/// One account's share of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// The account.
    pub account: AccountId,
    /// What its balance changes by.
    pub cents: i64,
}

impl Operation {
    /// What names the operation.
    pub fn number(&self) -> u64 {
        match *self {
            Self::Transfer { number, .. } | Self::Entry { number, .. } => number,
        }
    }

    /// The first account, whose partition the operation belongs to.
    pub fn account(&self) -> AccountId {
        match *self {
            Self::Transfer { from, .. } => from,
            Self::Entry { account, .. } => account,
        }
    }

    /// The account that must not be overdrawn by it, and what it pays.
    pub fn payer(&self) -> Option<Posting> {
        match *self {
            Self::Transfer { from, cents, .. } => Some(Posting { account: from, cents }),
            Self::Entry { .. } => None,
        }
    }

    /// What it does to each of its accounts.
    pub fn postings(&self) -> impl Iterator<Item = Posting> + use<> {
        let (first, second) = match *self {
            Self::Transfer { from, to, cents, .. } => {
                (Posting { account: from, cents: -cents }, Some(Posting { account: to, cents }))
            }
            Self::Entry { account, cents, .. } => (Posting { account, cents }, None),
        };
        std::iter::once(first).chain(second)
    }

    /// The transaction header it goes with.
    pub fn header(&self) -> u32 {
        match self {
            Self::Transfer { .. } => TRANSFER,
            Self::Entry { .. } => ENTRY,
        }
    }

    /// The transaction data.
    pub fn encode(&self) -> Vec<u8> {
        let (number, account, cents, to) = match *self {
            Self::Transfer { number, from, to, cents } => (number, from, cents, Some(to)),
            Self::Entry { number, account, cents } => (number, account, cents, None),
        };
        let words = [number, account.0, cents as u64].into_iter().chain(to.map(|to| to.0));
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Reads a transaction back.
    ///
    /// # Errors
    /// When header or data are not those of an operation.
    pub fn decode(header: u32, data: &[u8]) -> Result<Self, OperationError> {
        let expected = match header {
            TRANSFER => 32,
            ENTRY => 24,
            _ => return Err(OperationError::Header(header)),
        };
        if data.len() != expected {
            return Err(OperationError::Length { found: data.len(), expected });
        }
        let (words, _) = data.as_chunks::<8>();
        let word = |index: usize| u64::from_le_bytes(words[index]);
        let (number, account, cents) = (word(0), AccountId(word(1)), word(2) as i64);
        Ok(match header {
            TRANSFER => Self::Transfer { number, from: account, to: AccountId(word(3)), cents },
            _ => Self::Entry { number, account, cents },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_survive_the_log() {
        let (from, to) = (AccountId(7), AccountId(9));
        for operation in [
            Operation::Transfer { number: 1, from, to, cents: 250 },
            Operation::Entry { number: u64::MAX, account: from, cents: -1 },
        ] {
            let decoded = Operation::decode(operation.header(), &operation.encode());
            assert_eq!(decoded, Ok(operation));
        }
    }

    #[test]
    fn foreign_transactions_are_refused() {
        assert_eq!(Operation::decode(9, &[0; 24]), Err(OperationError::Header(9)));
        assert_eq!(
            Operation::decode(TRANSFER, &[0; 24]),
            Err(OperationError::Length { found: 24, expected: 32 })
        );
    }

    #[test]
    fn a_transfer_moves_money_and_makes_none() {
        let transfer =
            Operation::Transfer { number: 1, from: AccountId(1), to: AccountId(2), cents: 40 };
        assert_eq!(transfer.postings().map(|posting| posting.cents).sum::<i64>(), 0);
        assert_eq!(transfer.payer(), Some(Posting { account: AccountId(1), cents: 40 }));
    }
}
