//! A connection between an instance and its server that breaks in the worst moment.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// When the next commit's connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    BeforeCommit,
    /// The server has committed, and its client does not hear of it.
    BeforeAnswer,
}

/// Passes bytes between clients and the socket of a server; ends when dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    cut: Arc<Mutex<Option<Cut>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let cut = Arc::new(Mutex::new(None));
        let next_cut = cut.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("it accepts");
                let server = UnixStream::connect(&server).await.expect("the server listens");
                let cut = next_cut.clone();
                // A broken connection is what it is here for.
                tokio::spawn(async move { drop(pass(client, server, &cut).await) });
            }
        });
        Self { port, cut, task }
    }

    pub(crate) fn cut_next(&self, cut: Cut) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
    }

    /// Whether nothing was cut since it was asked for.
    pub(crate) fn is_armed(&self) -> bool {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: UnixStream,
    cut: &Mutex<Option<Cut>>,
) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let commits = bytes.windows(6).any(|window| window == b"COMMIT");
                let cut = commits.then(|| cut.lock().unwrap_or_else(PoisonError::into_inner).take());
                match cut.flatten() {
                    Some(Cut::BeforeCommit) => return Ok(()),
                    Some(Cut::BeforeAnswer) => {
                        server.write_all(bytes).await?;
                        server.read_exact(&mut answered[..1]).await?;
                        return Ok(());
                    }
                    None => server.write_all(bytes).await?,
                }
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
