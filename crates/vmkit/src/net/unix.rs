//! Sockets of the file system: `unix:/path` to listen at, a path to connect to.
//!
//! A stream of such a socket is read and written by the very calls of a TCP stream, so it travels as one: the path of
//! requests knows no other kind. Only what concerns addresses and options of TCP has no meaning on it, and whoever
//! asks for these must know. The file of a listener is ours alone: it is put in place with mode 0660 before anybody can
//! connect, takes the place of one that nobody listens at any more, never of one that somebody does or of another kind of
//! file, and goes away with the listener.

use std::fs;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::TcpStream;

use crate::go_text::os_error;

/// What an address of a listener begins with when it is a path.
pub const PREFIX: &str = "unix:";

/// The longest path of a socket in bytes, by `sun_path` of unix(7).
pub const MAX_PATH: usize = 107;

/// Owner and group may connect.
const MODE: u32 = 0o660;
const BACKLOG: i32 = 4096;

/// The files of all listeners of a process. Those that are still here when this is dropped are removed: a start that
/// fails leaves nothing behind.
#[derive(Debug, Default)]
pub struct SocketFiles(Vec<SocketFile>);

/// The file of a listener, to be removed at the end.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Tells it from one that somebody else has put there since.
    id: FileId,
}

/// Device, number and time of creation of a file: numbers are given again.
type FileId = (u64, u64, i64, i64);

fn id_of(file: &fs::Metadata) -> FileId {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec())
}

/// Listens at this path. The text of an error reads `listen unix /path: bind: permission denied`.
pub fn bind(path: &str) -> Result<(UnixListener, SocketFile), String> {
    // Linux would choose a name that is no file's.
    if path.is_empty() {
        return Err("listen unix: the path is missing; write unix:/path/to/socket".to_owned());
    }
    if path.len() > MAX_PATH {
        return Err(format!("listen unix {path}: the path has {} bytes; {MAX_PATH} are allowed", path.len()));
    }
    let failed =
        |(operation, error): (&str, io::Error)| format!("listen unix {path}: {operation}: {}", os_error(&error));
    make_room(Path::new(path)).map_err(failed)?;
    let (socket, id) = listen(path).map_err(failed)?;
    Ok((socket, SocketFile { path: path.into(), id }))
}

/// Removes a socket that nobody listens at.
fn make_room(path: &Path) -> Result<(), (&'static str, io::Error)> {
    let in_use = || io::Error::from_raw_os_error(rustix::io::Errno::ADDRINUSE.raw_os_error());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(("bind", error)),
        Ok(file) if !file.file_type().is_socket() => return Err(("bind", in_use())),
        Ok(_) => {}
    }
    // Only this answer says that there is no listener; a full queue or missing rights do not.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ("remove", error))
        }
        _ => Err(("bind", in_use())),
    }
}

fn listen(path: &str) -> Result<(UnixListener, FileId), (&'static str, io::Error)> {
    let address = SockAddr::unix(path).map_err(|error| ("bind", error))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| ("socket", error))?;
    socket.set_nonblocking(true).map_err(|error| ("socket", error))?;
    socket.bind(&address).map_err(|error| ("bind", error))?;
    let opened = open(path, &socket);
    if opened.is_err() {
        let _ = fs::remove_file(path);
    }
    Ok((OwnedFd::from(socket).into(), opened?))
}

/// Lets others connect.
fn open(path: &str, socket: &Socket) -> Result<FileId, (&'static str, io::Error)> {
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(|error| ("chmod", error))?;
    let file = fs::symlink_metadata(path).map_err(|error| ("stat", error))?;
    // Until now a connect is refused.
    socket.listen(BACKLOG).map_err(|error| ("listen", error))?;
    Ok(id_of(&file))
}

impl SocketFiles {
    /// One more.
    pub fn push(&mut self, file: SocketFile) {
        self.0.push(file);
    }
}

impl Drop for SocketFiles {
    /// Blocks on the disk.
    fn drop(&mut self) {
        self.0.iter().for_each(SocketFile::remove);
    }
}

impl SocketFile {
    /// Removes the file unless another one has taken its place. Blocks on the disk.
    pub fn remove(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| id_of(&file) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A connection of a unix socket as what the path of requests knows. It must not block.
pub fn into_stream(stream: UnixStream) -> io::Result<TcpStream> {
    TcpStream::from_std(StdTcpStream::from(OwnedFd::from(stream)))
}

/// Connects to the socket at this path within `timeout`; a passed deadline is an error of kind `TimedOut`.
pub async fn dial(path: &str, timeout: Duration) -> io::Result<TcpStream> {
    match tokio::time::timeout(timeout, tokio::net::UnixStream::connect(path)).await {
        Ok(connected) => into_stream(connected?.into_std()?),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// `dial unix /path: connect: no such file or directory`
pub fn dial_error_text(path: &str, error: &io::Error) -> String {
    let operation = if error.raw_os_error().is_some() { "connect: " } else { "" };
    format!("dial unix {path}: {operation}{}", os_error(error))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn path(dir: &tempfile::TempDir) -> String {
        dir.path().join("socket").display().to_string()
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        let (listener, file) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        file.remove();
        assert!(!Path::new(&path).exists());
    }

    #[test]
    fn files_that_are_dropped_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (path(&dir), dir.path().join("other"));
        let mut files = SocketFiles::default();
        for path in [&path, other.to_str().unwrap()] {
            files.push(bind(path).unwrap().1);
        }
        // Somebody else's by now.
        fs::remove_file(&other).unwrap();
        fs::write(&other, "text").unwrap();
        drop(files);
        assert!(!Path::new(&path).exists() && other.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        let (listener, old) = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err(), format!("listen unix {path}: bind: address already in use"));
        drop(listener);
        let (_new, _) = bind(&path).unwrap();
        // The one before must not take its successor's file away.
        old.remove();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        fs::write(&path, "text").unwrap();
        assert_eq!(bind(&path).unwrap_err(), format!("listen unix {path}: bind: address already in use"));
        assert_eq!(fs::read(&path).unwrap(), b"text");
        let missing = format!("{path}-none/socket");
        assert_eq!(bind(&missing).unwrap_err(), format!("listen unix {missing}: bind: no such file or directory"));
        assert!(bind("").unwrap_err().contains("the path is missing"));
        assert!(bind(&"x".repeat(108)).unwrap_err().contains("the path has 108 bytes"));
    }

    #[tokio::test]
    async fn streams_carry_bytes_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        let (listener, _file) = bind(&path).unwrap();
        let mut near = dial(&path, Duration::from_secs(5)).await.unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.set_nonblocking(false).unwrap();
        near.write_all(b"abc").await.unwrap();
        near.shutdown().await.unwrap();
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "abc");
        drop(far);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn texts_of_failed_dials() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        let error = dial(&path, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(dial_error_text(&path, &error), format!("dial unix {path}: connect: no such file or directory"));
        drop(bind(&path).unwrap());
        let error = dial(&path, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(dial_error_text(&path, &error), format!("dial unix {path}: connect: connection refused"));
    }
}
