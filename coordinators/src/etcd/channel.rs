//! A connection to a member, and what is told of its failures.

use std::io;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Error};
use tonic::{Code, Status};
use tower::service_fn;
use waltz_runtime_tokio::Tls;

use super::calls::PATIENCE;
use crate::dial::{Failure, dial};

/// What etcd speaks over TLS.
const HTTP_2: &[u8] = b"h2";

/// Connects to a member, `HOST:PORT`. Over TLS, why the connection fails later is noted.
pub(super) async fn connect(
    member: &str,
    tls: Option<&Tls>,
    failure: &Failure,
) -> Result<Channel, String> {
    let unreachable = |error: Error| format!("etcd at {member}: {}", chain(&error));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{member}"))
        .map_err(unreachable)?
        .connect_timeout(PATIENCE)
        .tcp_nodelay(true);
    let connected = match tls {
        None => endpoint.connect().await,
        Some(tls) => {
            let (member, tls, failure) = (member.to_owned(), tls.clone(), failure.clone());
            let dialled = service_fn(move |_: Uri| {
                let (member, tls, failure) = (member.clone(), tls.clone(), failure.clone());
                async move {
                    let secured = dial(&member, &tls, &[HTTP_2], failure).await;
                    secured.map(TokioIo::new).map_err(io::Error::other)
                }
            });
            endpoint.connect_with_connector(dialled).await
        }
    };
    connected.map_err(unreachable)
}

/// What a member answered instead of doing what it was asked for.
pub(super) fn described(status: &Status) -> String {
    let text = match status.message() {
        "" => format!("etcd failed: {}", status.code()),
        message => message.to_owned(),
    };
    match std::error::Error::source(status) {
        // Where no answer came, the reason is what became of the connection.
        Some(cause) => format!("{text}: {}", chain(cause)),
        None if status.code() == Code::PermissionDenied => {
            format!("{text}: give the user a role that may read and write the cluster's keys")
        }
        None => text,
    }
}

/// An error with what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        // Some say what caused them themselves.
        if !text.ends_with(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
}
