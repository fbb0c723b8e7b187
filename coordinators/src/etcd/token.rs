//! In whose name a member is asked.
//!
//! etcd gives a token for a name and a password, and every call brings it along. A token that is not
//! taken any more is replaced by one that is asked for anew, by whoever notices first.

use std::sync::Arc;

use http::uri::PathAndQuery;
use tokio::sync::Mutex;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::api;
use super::channel::described;
use crate::security::Login;

/// What stands for a user in a call; none where nobody has logged in.
pub(super) type Token = Option<MetadataValue<Ascii>>;

/// The token that is in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    login: Login,
    token: Mutex<Token>,
}

impl Tokens {
    /// Logs in, if there is anybody to be.
    pub(super) async fn new(
        grpc: &mut Grpc<Channel>,
        login: Option<Login>,
    ) -> Result<Self, Status> {
        let Some(login) = login else { return Ok(Self::default()) };
        let token = Mutex::new(authenticate(grpc, &login).await?);
        Ok(Self(Some(Arc::new(Held { login, token }))))
    }

    pub(super) async fn current(&self) -> Token {
        match &self.0 {
            Some(held) => held.token.lock().await.clone(),
            None => None,
        }
    }

    /// Whether another token may do better.
    pub(super) fn is_stale(&self, refusal: &Status) -> bool {
        self.0.is_some() && is_stale(refusal)
    }

    /// A token in place of one that was refused.
    pub(super) async fn renew(
        &self,
        grpc: &mut Grpc<Channel>,
        refused: &Token,
    ) -> Result<Token, Status> {
        let Some(held) = &self.0 else { return Ok(None) };
        let mut token = held.token.lock().await;
        if *token == *refused {
            *token = authenticate(grpc, &held.login).await?;
        }
        Ok(token.clone())
    }
}

/// A request in the name of whom the token is for.
pub(super) fn request<M>(message: M, token: &Token) -> Request<M> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.clone());
    }
    request
}

fn is_stale(refusal: &Status) -> bool {
    // The last one comes where the token was none, as nobody had to log in.
    const REFUSALS: [&str; 2] =
        ["etcdserver: revision of auth store is old", "etcdserver: user name is empty"];
    refusal.code() == Code::Unauthenticated || REFUSALS.contains(&refusal.message())
}

async fn authenticate(grpc: &mut Grpc<Channel>, login: &Login) -> Result<Token, Status> {
    const IS_OFF: &str = "etcdserver: authentication is not enabled";
    let user = login.user();
    let request =
        api::AuthenticateRequest { name: user.to_owned(), password: login.password().to_owned() };
    let path = PathAndQuery::from_static(api::AUTHENTICATE);
    let codec = ProstCodec::<_, api::AuthenticateResponse>::default();
    grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    match grpc.unary(Request::new(request), path, codec).await {
        Ok(answer) => {
            let unfit = |_| Status::internal("etcd gave a token that no call can bring along");
            let mut token: MetadataValue<Ascii> =
                answer.into_inner().token.parse().map_err(unfit)?;
            token.set_sensitive(true);
            Ok(Some(token))
        }
        Err(status) if status.message() == IS_OFF => {
            tracing::warn!("etcd asks nobody for a password: authentication is not enabled there");
            Ok(None)
        }
        Err(status) => Err(Status::new(
            status.code(),
            format!("logging in to etcd as user {user:?}: {}", described(&status)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_taken_any_more_is_told_from_other_refusals() {
        let old = Status::invalid_argument("etcdserver: revision of auth store is old");
        for stale in [Status::unauthenticated("etcdserver: invalid auth token"), old] {
            assert!(is_stale(&stale), "{stale}");
        }
        for other in [
            Status::permission_denied("etcdserver: permission denied"),
            Status::invalid_argument(
                "etcdserver: authentication failed, invalid user ID or password",
            ),
        ] {
            assert!(!is_stale(&other), "{other}");
        }
    }

    #[test]
    fn a_request_brings_the_token_along() {
        let token: Token = Some(MetadataValue::from_static("token.7"));
        let named = request((), &token);
        assert_eq!(named.metadata().get("authorization").unwrap(), "token.7");
        assert!(request((), &None).metadata().is_empty());
    }
}
