//! An archive in S3: a real server over HTTP, which checks signatures.

use waltz_core::id::{Mark, TransactionId};
use waltz_s3_server::S3Server;

use crate::error::ArchiveError;
use crate::reader::ArchiveReader;
use crate::store::Archive;
use crate::testing::{LOG, piece, record};

/// A server with the bucket of [`open`].
fn server() -> S3Server {
    let server = S3Server::start().unwrap();
    server.create_bucket("backups").unwrap();
    server
}

fn open(server: &S3Server) -> Archive {
    Archive::open_with("s3://backups/of/waltz", server.variables()).unwrap()
}

/// The same server, with one variable as this.
fn open_as(server: &S3Server, url: &str, name: &str, value: &str) -> Result<Archive, ArchiveError> {
    let variables = server.variables().map(|(own, usual)| match own == name {
        true => (own, value.to_owned()),
        false => (own, usual),
    });
    Archive::open_with(url, variables)
}

#[track_caller]
fn assert_says(error: &ArchiveError, expected: &[&str]) {
    let text = error.to_string();
    expected.iter().for_each(|part| assert!(text.contains(part), "{text:?} lacks {part:?}"));
}

#[tokio::test]
async fn what_is_written_is_listed_and_read_back() {
    let server = server();
    let archive = open(&server);
    assert!(archive.logs().await.unwrap().is_empty());
    for ids in [0..10, 10..14, 8..12] {
        let (name, bytes) = piece(ids);
        let sound = archive.write(LOG, name, bytes.clone()).await.unwrap();
        assert_eq!((sound.piece(), sound.bytes()), (name, bytes.len()));
    }
    let notes = server.directory("backups").join("of/waltz/notes.txt");
    std::fs::write(notes, "of somebody else").unwrap();
    let logs = archive.logs().await.unwrap();
    assert_eq!(logs.keys().collect::<Vec<_>>(), [&LOG]);
    let pieces: Vec<_> = logs[&LOG].keys().map(|piece| (piece.first.0, piece.last.0)).collect();
    assert_eq!(pieces, [(0, 9), (8, 11), (10, 13)]);
    assert_eq!(open(&server).pieces(LOG).await.unwrap(), logs[&LOG]);
    let reader = ArchiveReader::new(archive);
    let (first, to) = (TransactionId(9), Mark::before(TransactionId(11)));
    let read = reader.read(LOG, first, to, u32::MAX).await.unwrap().unwrap();
    assert_eq!(read, [record(9), record(10)].concat());
}

#[tokio::test]
async fn a_list_of_more_than_one_page_is_whole() {
    let server = server();
    let archive = open(&server);
    let (_, bytes) = piece(0..1);
    let folder = LOG.folders().join("/");
    let folder = server.directory("backups").join("of/waltz").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for id in 0..1500 {
        std::fs::write(folder.join(piece(id..id + 1).0.file_name()), &bytes).unwrap();
    }
    let firsts = archive.pieces(LOG).await.unwrap().into_keys().map(|piece| piece.first.0);
    assert!(firsts.eq(0..1500));
}

#[tokio::test]
async fn a_changed_object_is_named_and_so_is_one_that_is_gone() {
    let server = server();
    let archive = open(&server);
    let (name, bytes) = piece(0..3);
    archive.write(LOG, name, bytes).await.unwrap();
    let file = archive.place(LOG, name);
    let file = server.directory("backups").join(file.strip_prefix("s3://backups/").unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = archive.read(LOG, name).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error:?}");
    assert_says(&error, &[&archive.place(LOG, name), "no sound piece"]);
    std::fs::remove_file(&file).unwrap();
    let error = archive.read(LOG, name).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error:?}");
    assert_says(&error, &[&archive.place(LOG, name), "archive it again"]);
}

#[tokio::test]
async fn who_may_not_is_told_so_whatever_is_asked() {
    let server = server();
    let (name, bytes) = piece(0..3);
    open(&server).write(LOG, name, bytes.clone()).await.unwrap();
    for (variable, wrong) in [("AWS_SECRET_ACCESS_KEY", "guessed"), ("AWS_ACCESS_KEY_ID", "nobody")]
    {
        let archive = open_as(&server, "s3://backups/of/waltz", variable, wrong).unwrap();
        let errors = [
            archive.logs().await.unwrap_err(),
            archive.read(LOG, name).await.unwrap_err(),
            archive.write(LOG, name, bytes.clone()).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, ArchiveError::Refused { .. }), "{error:?}");
            assert_says(&error, &["s3://backups/of/waltz", variable]);
        }
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_empty_archive() {
    let server = server();
    let archive = Archive::open_with("s3://absent/waltz", server.variables()).unwrap();
    for error in [archive.logs().await.unwrap_err(), archive.pieces(LOG).await.unwrap_err()] {
        assert!(matches!(error, ArchiveError::NoBucket { .. }), "{error:?}");
        assert_says(&error, &["s3://absent/waltz", "no such bucket", "make it"]);
    }
    assert!(!server.directory("absent").exists());
}

#[tokio::test]
async fn a_server_that_goes_away_is_said_to_and_used_once_it_is_back() {
    let mut server = server();
    let reader = ArchiveReader::new(open(&server));
    for ids in [0..10, 10..20] {
        let (name, bytes) = piece(ids);
        open(&server).write(LOG, name, bytes).await.unwrap();
    }
    let read = async |id| {
        let to = Mark::at(TransactionId(id));
        reader.read(LOG, TransactionId(id), to, u32::MAX).await
    };
    assert_eq!(read(0).await.unwrap().unwrap(), record(0));
    server.stop();
    assert_eq!(read(9).await.unwrap().unwrap(), record(9), "what was read is at hand");
    let error = read(10).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Unreachable { .. }), "{error:?}");
    assert_says(&error, &["can't read", "s3://backups/of/waltz", "AWS_ENDPOINT"]);
    let (name, bytes) = piece(20..30);
    let error = open(&server).write(LOG, name, bytes.clone()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Unreachable { .. }), "{error:?}");
    server.restart().unwrap();
    assert_eq!(read(10).await.unwrap().unwrap(), record(10));
    open(&server).write(LOG, name, bytes).await.unwrap();
    assert_eq!(open(&server).pieces(LOG).await.unwrap().len(), 3);
}

#[test]
fn an_endpoint_without_tls_has_to_be_wanted() {
    let server = S3Server::start().unwrap();
    for word in ["false", "no", ""] {
        let error = open_as(&server, "s3://backups", "AWS_ALLOW_HTTP", word).unwrap_err();
        assert!(matches!(error, ArchiveError::Url { .. }), "{error:?}");
        assert_says(&error, &["http://127.0.0.1", "AWS_ALLOW_HTTP=true"]);
    }
    open_as(&server, "s3://backups", "AWS_ENDPOINT", "https://127.0.0.1").unwrap();
}
