//! The port that the server listens on: bound early, opened once the server can serve, closed without losing a request.

use actix_web::dev::ServerHandle;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// How many connections the operating system keeps until they are accepted.
const BACKLOG: i32 = 1_024;

/// A port that is taken, but refuses connections: a proxy in front sends its requests to another server until this one can serve.
#[derive(Debug)]
pub struct Port(Socket);

/// An open port, for whoever closes it.
#[derive(Debug)]
pub struct OpenPort(
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "closed with the server"))] Socket,
);

impl Port {
    /// Takes a port.
    ///
    /// # Errors
    /// Returns the operating system's error, such as that the port is in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier process may still be ending.
        socket.set_reuse_address(cfg!(unix))?;
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }

    /// The address, with the port that the operating system chose if none was named.
    ///
    /// # Errors
    /// Returns the operating system's error.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let address = self.0.local_addr()?.as_socket();
        address.ok_or_else(|| io::Error::other("the socket has no internet address"))
    }

    /// Begins to accept connections.
    ///
    /// # Errors
    /// Returns the operating system's error, such as that the port is in use.
    pub fn open(self) -> io::Result<(TcpListener, OpenPort)> {
        self.0.listen(BACKLOG)?;
        let closer = OpenPort(self.0.try_clone()?);
        Ok((self.0.into(), closer))
    }
}

#[cfg(target_os = "linux")]
impl OpenPort {
    /// Closes the port, while connections that are open are served on. Returns once what clients sent on the connections that were
    /// accepted last can be expected to have arrived.
    ///
    /// Closing it at once would reset connections that clients have opened, perhaps already with a request, and that the server has
    /// not yet accepted. So no new handshakes are begun first, and what was begun is accepted. A client whose handshake was ignored
    /// tries again after a second, is refused then, and can safely send its request elsewhere.
    pub async fn close(self, server: &ServerHandle) {
        if let Err(failure) = self.0.attach_filter(&without_handshakes()) {
            tracing::debug!(error = %failure, "handshakes cannot be ignored; a connection may be reset");
        }
        tokio::time::sleep(HANDSHAKES).await;
        server.pause().await;
        tokio::time::sleep(ACCEPTOR).await;
        if let Err(failure) = self.0.shutdown(std::net::Shutdown::Read) {
            tracing::warn!(error = %failure, "the port cannot be closed before the server stops");
        }
        drop(self.0);
        tokio::time::sleep(LAST_REQUESTS).await;
    }
}

#[cfg(not(target_os = "linux"))]
impl OpenPort {
    /// Does nothing: the port is closed when the server stops.
    pub async fn close(self, _server: &ServerHandle) {}
}

/// How long a handshake that was begun may take, and the server to accept the connection.
#[cfg(target_os = "linux")]
const HANDSHAKES: std::time::Duration = std::time::Duration::from_millis(250);

/// How long the thread that accepts connections may take to notice that it is to pause.
#[cfg(target_os = "linux")]
const ACCEPTOR: std::time::Duration = std::time::Duration::from_millis(50);

/// How long after it has connected a client may take to send its request.
#[cfg(target_os = "linux")]
const LAST_REQUESTS: std::time::Duration = std::time::Duration::from_secs(1);

/// A filter that ignores the packets that begin a handshake: SYN without ACK, in the 14th byte of the TCP header.
#[cfg(target_os = "linux")]
fn without_handshakes() -> [socket2::SockFilter; 5] {
    use socket2::SockFilter;
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_port_is_taken_before_it_is_open() {
        let port = Port::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let (listener, _open) = port.open().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
        let taken = Port::bind(address).and_then(Port::open).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
