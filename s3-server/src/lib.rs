//! An S3 server for tests: [`s3s`](https://docs.rs/s3s) over files, as [`s3s_fs`] has it. It answers HTTP
//! on a port of loopback that the system chose and nobody else is given, checks signatures, and keeps
//! what it has while it is stopped. Unlike others it makes a bucket that an object is written to.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! let mut server = waltz_s3_server::S3Server::start()?;
//! server.create_bucket("backups")?;
//! let variables = server.variables(); // for whoever is to reach it
//! server.stop(); // connections end where they are
//! server.restart()?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as HttpBuilder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use waltz_databases::Held;

const ACCESS_KEY: &str = "waltz";
const SECRET_KEY: &str = "not a secret";

/// An S3 server with a directory of its own. It ends when dropped.
#[derive(Debug)]
pub struct S3Server {
    running: Option<Running>,
    /// Buckets are directories in it, and objects files in those.
    root: TempDir,
    port: Held,
}

#[derive(Debug)]
struct Running {
    /// Dropped, it ends the thread.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl S3Server {
    /// Starts a server that has no bucket.
    ///
    /// # Errors
    /// When the system refuses a directory, a port or a thread.
    pub fn start() -> io::Result<Self> {
        let port = Held::new(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let mut server = Self { running: None, root: tempfile::tempdir()?, port };
        server.restart()?;
        Ok(server)
    }

    /// Makes an empty bucket.
    ///
    /// # Errors
    /// When its directory can't be made.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir(self.directory(name))
    }

    /// Where a bucket's objects are: each in a file of its key, as the server got it.
    pub fn directory(&self, bucket: &str) -> PathBuf {
        self.root.path().join(bucket)
    }

    /// The variables that say how it is reached, and as whom.
    pub fn variables(&self) -> [(String, String); 5] {
        let endpoint = format!("http://{}", self.address());
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    /// Ends it, and all connections where they are. Its port stays its own.
    pub fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            drop(stop);
            thread.join().expect("the server does not panic");
        }
    }

    /// Starts it again, on the same port and with what it has.
    ///
    /// # Errors
    /// When the system refuses the port or a thread.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let listener = TcpListener::bind(self.address())?;
        listener.set_nonblocking(true)?;
        let files = FileSystem::new(self.root.path()).map_err(|error| {
            io::Error::other(format!("can't serve {}: {error:?}", self.root.path().display()))
        })?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("s3-server".to_owned())
            .spawn(move || serve(&runtime, listener, service, stopped))?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers until it is stopped; connections end with the runtime.
fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    service: S3Service,
    stopped: oneshot::Receiver<()>,
) {
    let accept = async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        loop {
            let (connection, _) = listener.accept().await.expect("connections can be taken");
            let service = service.clone();
            tokio::spawn(async move {
                let http = HttpBuilder::new(TokioExecutor::new());
                // A client that goes away is none of the server's business.
                let _ = http.serve_connection(TokioIo::new(connection), service).await;
            });
        }
    };
    runtime.block_on(async {
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}
