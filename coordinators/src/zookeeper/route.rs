//! How the client reaches the members, in whose name, and to whom what it makes belongs.

use std::sync::Arc;

use tokio::sync::OnceCell;
use zookeeper_client::{Acl, Acls, AuthId, Client, Connector, Permission};

use super::tunnel::Tunnel;
use crate::security::Security;

/// The directory of all clusters: each may make one of its own in it.
pub(super) const SHARED: &str = "/waltz";

/// The way to ZooKeeper. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Route(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    members: Vec<String>,
    security: Security,
    /// Where TLS secures the way, what leads to each member; opened when it is needed first.
    tunnels: OnceCell<Vec<Tunnel>>,
}

impl Route {
    pub(super) fn new(members: &[String], security: Security) -> Self {
        Self(Arc::new(Shared { members: members.to_vec(), security, tunnels: OnceCell::new() }))
    }

    pub(super) fn member(&self, number: usize) -> &str {
        &self.0.members[number % self.0.members.len()]
    }

    /// Where the client finds a member.
    pub(super) async fn to(&self, number: usize) -> Result<String, String> {
        let addresses = self.addresses().await?;
        Ok(addresses[number % addresses.len()].clone())
    }

    /// Where the client finds all members, in its own notation.
    pub(super) async fn to_all(&self) -> Result<String, String> {
        Ok(self.addresses().await?.join(","))
    }

    async fn addresses(&self) -> Result<Vec<String>, String> {
        let Shared { members, security, tunnels } = &*self.0;
        let Some(tls) = &security.tls else { return Ok(members.clone()) };
        let open = || async {
            members.iter().map(|member| Tunnel::open(member, tls)).collect::<Result<_, _>>()
        };
        let tunnels = tunnels.get_or_try_init(open).await;
        let tunnels = tunnels.map_err(|error| format!("no way through TLS: {error}"))?;
        Ok(tunnels.iter().map(Tunnel::address).collect())
    }

    /// What became of the last connection to a member, where TLS is to secure it and did not.
    pub(super) fn failure(&self, number: usize) -> Option<String> {
        let tunnels = self.0.tunnels.get()?;
        tunnels[number % tunnels.len()].failure()
    }

    /// What makes connections in the user's name.
    pub(super) fn connector(&self) -> Connector {
        let connector = Client::connector();
        match &self.0.security.login {
            None => connector,
            Some(login) => {
                let identity = format!("{}:{}", login.user(), login.password());
                connector.with_auth("digest", identity.as_bytes())
            }
        }
    }

    /// Who may do what to what is made: with a user that one alone, without one everybody.
    pub(super) fn owners(&self) -> Acls<'static> {
        match &self.0.security.login {
            None => Acls::anyone_all(),
            Some(_) => Acls::creator_all(),
        }
    }

    /// Who may do what to the directory of all clusters: others may add theirs.
    pub(super) fn owners_of_shared(&self) -> Vec<Acl> {
        match &self.0.security.login {
            None => vec![Acl::new(Permission::ALL, AuthId::anyone())],
            Some(_) => vec![
                Acl::new(Permission::ALL, AuthId::authed()),
                Acl::new(Permission::READ | Permission::CREATE, AuthId::anyone()),
            ],
        }
    }
}
