//! Rules: which names and tokens have which role.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Identity, TokenHash};
use crate::wire::{ClientRequest, OperatorRequest};

/// What somebody may do. Of the first three each includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads the log, and asks how the cluster is.
    Reader,
    /// Appends to it, and registers consumers.
    Writer,
    /// Operates the cluster.
    Admin,
    /// Is a node of the cluster: asks replicas and the coordinator. It includes no other.
    Node,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Writer, Self::Admin, Self::Node];

    /// What a client's request takes; nothing where everyone may ask.
    pub fn needed_for(request: &ClientRequest) -> Option<Self> {
        Some(match request {
            ClientRequest::Authenticate { .. } => return None,
            ClientRequest::Append { .. } => Self::Writer,
            ClientRequest::Operate { request, .. } => match request {
                OperatorRequest::AdvanceConsumer { .. }
                | OperatorRequest::RemoveConsumer { .. } => Self::Writer,
                _ => Self::Admin,
            },
            _ => Self::Reader,
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
            Self::Node => "node",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|role| role.to_string() == text);
        named
            .ok_or_else(|| format!("{text:?} is no role; there are reader, writer, admin and node"))
    }
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bearer {
    /// Whose certificate has this name.
    Name(String),
    /// Who presents this token.
    Token(TokenHash),
    /// Whoever asks.
    Anyone,
}

/// The rules of a node.
///
/// ```
/// use waltz_core::access::{AccessConfig, Bearer, Identity, Role};
///
/// let mut access = AccessConfig::default();
/// assert!(access.of_peer(None).may(Role::Admin), "nothing is configured");
/// access.allow(Bearer::Name("billing".to_owned()), Role::Writer);
/// let billing: Identity = ["billing"].into_iter().collect();
/// assert!(access.of_peer(Some(&billing)).may(Role::Reader));
/// assert!(!access.of_peer(Some(&billing)).may(Role::Admin));
/// assert!(!access.of_peer(None).may(Role::Reader));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccessConfig {
    rules: Vec<(Bearer, Role)>,
}

impl AccessConfig {
    /// Adds a rule.
    pub fn allow(&mut self, bearer: Bearer, role: Role) {
        self.rules.push((bearer, role));
    }

    /// Whether there is no rule, so that everyone may do everything.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any token has a role.
    pub fn has_tokens(&self) -> bool {
        self.rules.iter().any(|(bearer, _)| matches!(bearer, Bearer::Token(_)))
    }

    /// What a peer with this certificate, or with none, may do.
    pub fn of_peer(&self, identity: Option<&Identity>) -> Rights {
        if self.is_open() {
            return Rights::ALL;
        }
        self.rights(|bearer| match bearer {
            Bearer::Name(name) => identity.is_some_and(|identity| identity.is(name)),
            Bearer::Anyone => true,
            Bearer::Token(_) => false,
        })
    }

    /// What a token adds to that. All of them are looked at, so that the time it takes tells
    /// nothing of any.
    pub fn of_token(&self, token: &str) -> Rights {
        if self.is_open() {
            return Rights::ALL;
        }
        let presented = TokenHash::of(token);
        self.rights(|bearer| match bearer {
            Bearer::Token(known) => known.matches(&presented),
            Bearer::Name(_) | Bearer::Anyone => false,
        })
    }

    fn rights(&self, is_about: impl Fn(&Bearer) -> bool) -> Rights {
        let roles = self.rules.iter().filter(|(bearer, _)| is_about(bearer));
        roles.fold(Rights::default(), |rights, (_, role)| rights.with(*role))
    }
}

/// What one peer may do; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rights {
    /// The highest of a client's roles.
    client: Option<Role>,
    node: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Self = Self { client: Some(Role::Admin), node: true };

    /// Whether it may do what this role takes.
    pub fn may(self, role: Role) -> bool {
        match role {
            Role::Node => self.node,
            role => self.client.is_some_and(|highest| highest >= role),
        }
    }

    /// Whether it may do anything that a client does.
    pub fn is_client(self) -> bool {
        self.client.is_some()
    }

    /// Both, these and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { client: self.client.max(other.client), node: self.node || other.node }
    }

    fn with(self, role: Role) -> Self {
        self.and(match role {
            Role::Node => Self { client: None, node: true },
            role => Self { client: Some(role), node: false },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Mark, PartitionId, TransactionId};

    fn rules(rules: &[(Bearer, Role)]) -> AccessConfig {
        AccessConfig { rules: rules.to_vec() }
    }

    fn allowed(rights: Rights) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| rights.may(*role)).collect()
    }

    #[test]
    fn without_rules_everyone_may_do_everything() {
        assert_eq!(allowed(AccessConfig::default().of_peer(None)), Role::ALL);
        assert_eq!(allowed(AccessConfig::default().of_token("any")), Role::ALL);
    }

    #[test]
    fn a_rule_is_about_its_bearer_and_no_other() {
        let name = |name: &str| Bearer::Name(name.to_owned());
        let access = rules(&[
            (name("n1"), Role::Node),
            (name("both"), Role::Node),
            (name("both"), Role::Writer),
            (Bearer::Token(TokenHash::of("secret")), Role::Admin),
        ]);
        let of = |name: &str| allowed(access.of_peer(Some(&[name].into_iter().collect())));
        assert_eq!(of("n1"), [Role::Node]);
        assert_eq!(of("both"), [Role::Reader, Role::Writer, Role::Node]);
        assert_eq!(of("N1"), []);
        assert_eq!(allowed(access.of_peer(None)), []);
        assert_eq!(allowed(access.of_token("secret")), [Role::Reader, Role::Writer, Role::Admin]);
        assert_eq!(allowed(access.of_token("secre")), []);
        assert_eq!(allowed(access.of_token("")), []);
    }

    #[test]
    fn what_anyone_may_do_is_added_to_what_is_known() {
        let access =
            rules(&[(Bearer::Anyone, Role::Reader), (Bearer::Name("w".into()), Role::Writer)]);
        assert_eq!(allowed(access.of_peer(None)), [Role::Reader]);
        let writer = ["w"].into_iter().collect();
        assert_eq!(allowed(access.of_peer(Some(&writer))), [Role::Reader, Role::Writer]);
    }

    #[test]
    fn requests_take_the_role_of_what_they_do() {
        let partition = PartitionId(0);
        let operate = |request| ClientRequest::Operate { call: 1, request };
        let start = Mark::at(TransactionId(1));
        let consumer = || "a".to_owned();
        for (request, role) in [
            (ClientRequest::Authenticate { token: "t".to_owned() }, None),
            (ClientRequest::Describe, Some(Role::Reader)),
            (ClientRequest::Status { call: 1 }, Some(Role::Reader)),
            (ClientRequest::Current { partition, call: 1 }, Some(Role::Reader)),
            (operate(OperatorRequest::Trim { partition, start }), Some(Role::Admin)),
            (
                operate(OperatorRequest::RemoveConsumer { partition, consumer: consumer() }),
                Some(Role::Writer),
            ),
        ] {
            assert_eq!(Role::needed_for(&request), role, "{request:?}");
        }
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
