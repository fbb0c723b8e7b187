//! Calls of etcd's API, each bounded in time.

use std::time::Duration;

use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::api;

/// How long a call may take. A node prolongs its lease so often that nothing else has to probe the
/// connection; etcd ends one that is probed more often than it likes.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer to take, in bytes.
const MAX_ANSWER: usize = 32 << 20;

/// A connection to a member.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Grpc<Channel>);

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
    pub(super) async fn connect(member: &str) -> Result<Self, String> {
        let unreachable = |error: tonic::transport::Error| format!("{member}: {}", chain(&error));
        let channel = Endpoint::from_shared(format!("http://{member}"))
            .map_err(unreachable)?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(unreachable)?;
        Ok(Self(Grpc::new(channel).max_decoding_message_size(MAX_ANSWER)))
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
        let request = Request::new(stream::iter([api::LeaseKeepAliveRequest { id }]));
        let prolonged = in_time(async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static(api::LEASE_KEEP_ALIVE);
            let codec = ProstCodec::<_, api::LeaseKeepAliveResponse>::default();
            grpc.streaming(request, path, codec).await?.into_inner().message().await
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
        // The requests never end: the watch would end with them.
        let requests = stream::StreamExt::chain(stream::iter([create]), stream::pending());
        let mut request = Request::new(requests);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        in_time(async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static(api::WATCH);
            Ok(grpc.streaming(request, path, ProstCodec::default()).await?.into_inner())
        })
        .await
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Fault>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        in_time(async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static(path);
            let answer = grpc.unary(Request::new(request), path, ProstCodec::default()).await?;
            Ok(answer.into_inner())
        })
        .await
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
        Ok(grpc)
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Fault> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        // Nothing else that is asked for can be missing.
        Ok(Err(status)) if status.code() == Code::NotFound => Err(Fault::NoLease),
        Ok(Err(status)) => Err(Fault::Broken(described(&status))),
        Err(_) => Err(Fault::Broken(format!("etcd did not answer for {} s", PATIENCE.as_secs()))),
    }
}

pub(super) fn described(status: &Status) -> String {
    match status.message() {
        "" => format!("etcd failed: {}", status.code()),
        message => message.to_owned(),
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
