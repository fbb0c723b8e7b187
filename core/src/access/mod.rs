//! Who is at the other end of a connection, and what they may do.
//!
//! A peer is known by the names in its certificate, which the runtime has verified, or by a token.
//! Rules give roles to names, to tokens, and perhaps to everyone. Without any rule everyone may do
//! everything; with one, nobody may do what no rule allows.

mod identity;
mod refusal;
mod rules;
mod token;

pub use identity::Identity;
pub use refusal::AccessRefusal;
pub use rules::{AccessConfig, Bearer, Rights, Role};
pub use token::{NotATokenHash, TokenHash};
