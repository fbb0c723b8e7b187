//! Calls of etcd's API, each bounded in time.

use std::time::Duration;

use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::api;
use super::channel::{self, chain, described};
use super::token::{Token, Tokens, request};
use crate::dial::Failure;
use crate::security::Security;

/// How long a call may take. A node prolongs its lease so often that nothing else has to probe the
/// connection; etcd ends one that is probed more often than it likes.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer to take, in bytes.
const MAX_ANSWER: usize = 32 << 20;

/// A connection to a member.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    grpc: Grpc<Channel>,
    tokens: Tokens,
    /// Why the connection is gone, if it is.
    failure: Failure,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no such lease.
    NoLease,
    /// Anything else: the connection is given up.
    Broken(String),
}

impl Fault {
    pub(super) fn text(self) -> String {
        match self {
            Self::NoLease => "etcd knows no such lease".to_owned(),
            Self::Broken(reason) => reason,
        }
    }
}

impl Calls {
    pub(super) async fn connect(member: &str, security: &Security) -> Result<Self, String> {
        let failure = Failure::default();
        let channel = channel::connect(member, security.tls.as_ref(), &failure).await?;
        let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
        let tokens = in_time(&failure, Tokens::new(&mut grpc, security.login.clone()));
        let tokens = tokens.await.map_err(|fault| format!("etcd at {member}: {}", fault.text()))?;
        Ok(Self { grpc, tokens, failure })
    }

    pub(super) async fn range(
        &self,
        request: api::RangeRequest,
    ) -> Result<api::RangeResponse, Fault> {
        self.call(api::RANGE, request).await
    }

    pub(super) async fn txn(&self, request: api::TxnRequest) -> Result<api::TxnResponse, Fault> {
        self.call(api::TXN, request).await
    }

    /// Starts a lease, or prolongs one that there is.
    pub(super) async fn keep_alive(&self, id: i64, ttl: i64) -> Result<(), Fault> {
        if self.prolong(id).await? {
            return Ok(());
        }
        let request = api::LeaseGrantRequest { ttl, id };
        let granted: api::LeaseGrantResponse = self.call(api::LEASE_GRANT, request).await?;
        if granted.error.is_empty() { Ok(()) } else { Err(Fault::Broken(granted.error)) }
    }

    async fn prolong(&self, id: i64) -> Result<bool, Fault> {
        let prolonged = self.authorized(move |mut grpc, token| async move {
            let requests = stream::iter([api::LeaseKeepAliveRequest { id }]);
            let path = PathAndQuery::from_static(api::LEASE_KEEP_ALIVE);
            let codec = ProstCodec::<_, api::LeaseKeepAliveResponse>::default();
            let answers = grpc.streaming(request(requests, &token), path, codec).await?;
            answers.into_inner().message().await
        });
        match prolonged.await? {
            Some(answer) => Ok(answer.ttl > 0),
            None => Err(Fault::Broken("etcd did not answer for a lease".to_owned())),
        }
    }

    pub(super) async fn revoke(&self, id: i64) -> Result<(), Fault> {
        let request = api::LeaseRevokeRequest { id };
        match self.call(api::LEASE_REVOKE, request).await {
            Ok(api::LeaseRevokeResponse {}) | Err(Fault::NoLease) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Watches; the stream ends when the member loses its leader.
    pub(super) async fn watch(
        &self,
        create: api::WatchCreateRequest,
    ) -> Result<Streaming<api::WatchResponse>, Fault> {
        let create = api::WatchRequest { create: Some(create) };
        self.authorized(|mut grpc, token| {
            // The requests never end: the watch would end with them.
            let requests =
                stream::StreamExt::chain(stream::iter([create.clone()]), stream::pending());
            let mut request = request(requests, &token);
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            let path = PathAndQuery::from_static(api::WATCH);
            async move {
                Ok(grpc.streaming(request, path, ProstCodec::default()).await?.into_inner())
            }
        })
        .await
    }

    async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Fault>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.authorized(|mut grpc, token| {
            let request = request(message.clone(), &token);
            let path = PathAndQuery::from_static(path);
            async move { Ok(grpc.unary(request, path, ProstCodec::default()).await?.into_inner()) }
        })
        .await
    }

    /// Makes a call in the user's name, once more if the token is not taken any more.
    async fn authorized<T, F>(
        &self,
        attempt: impl Fn(Grpc<Channel>, Token) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Status>>,
    {
        in_time(&self.failure, async {
            let token = self.tokens.current().await;
            match attempt(self.ready().await?, token.clone()).await {
                Err(refusal) if self.tokens.is_stale(&refusal) => {
                    let token = self.tokens.renew(&mut self.ready().await?, &token).await?;
                    attempt(self.ready().await?, token).await
                }
                answered => answered,
            }
        })
        .await
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
        Ok(grpc)
    }
}

async fn in_time<T>(
    failure: &Failure,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Fault> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        // Nothing else that is asked for can be missing.
        Ok(Err(status)) if status.code() == Code::NotFound => Err(Fault::NoLease),
        Ok(Err(status)) => {
            let text = described(&status);
            Err(Fault::Broken(match failure.told() {
                Some(reason) if !text.contains(&reason) => format!("{text}: {reason}"),
                _ => text,
            }))
        }
        Err(_) => Err(Fault::Broken(format!("etcd did not answer for {} s", PATIENCE.as_secs()))),
    }
}
