//! What is answered.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Told;
use crate::metrics::{self, Snapshot};

pub(super) async fn serve(listener: TcpListener, told: Told) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(lives))
        .route("/readyz", get(is_ready))
        .route("/metrics", get(counts))
        .with_state(Arc::new(told));
    axum::serve(listener, router).await
}

async fn lives(State(told): State<Arc<Told>>) -> impl IntoResponse {
    match told.watcher.measure().await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(silent) => unavailable(silent),
    }
}

async fn is_ready(State(told): State<Arc<Told>>) -> impl IntoResponse {
    let missing = match told.watcher.measure().await {
        Ok(measurements) => measurements.missing(),
        Err(silent) => return unavailable(silent),
    };
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
    unavailable(lines.join("\n"))
}

async fn counts(State(told): State<Arc<Told>>) -> impl IntoResponse {
    let measurements = told.watcher.measure().await.ok();
    let snapshot = Snapshot {
        node: told.node,
        cluster: &told.cluster,
        data: &told.data,
        measurements: measurements.as_ref(),
        journal: &told.journal,
        archive: told.archive.as_deref(),
    };
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::encode(&snapshot))
}

fn unavailable(why: impl Display) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}
