//! A loopback port whose server can go away and come back.

use std::future::Future;
use std::net::{Shutdown, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::LightningError;
use crate::background::Background;
use crate::error::Doing;

const BACKLOG: u32 = 1_024;

/// A free loopback port and the server behind it.
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    wanted: watch::Sender<bool>,
    is_open: watch::Receiver<bool>,
    background: Background,
}

impl Loopback {
    /// Serves each connection in a task of its own, on threads of its own.
    pub async fn serve<F>(
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Result<Self, LightningError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let background = Background::start()?;
        let (wanted, wants) = watch::channel(true);
        let (opened, is_open) = watch::channel(true);
        let address = background
            .run(async move {
                let reserved = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
                let address = reserved.local_addr().doing("binding a loopback port")?;
                let listener = listen(address)?;
                tokio::spawn(run(reserved, listener, address, wants, opened, serve));
                Ok(address)
            })
            .await?;
        Ok(Self { address, wanted, is_open, background })
    }

    /// The port, also while nobody listens there.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// The threads that serve the connections.
    pub const fn background(&self) -> &Background {
        &self.background
    }

    /// Cuts all connections, and refuses new ones. The port stays ours.
    pub async fn close(&self) -> Result<(), LightningError> {
        self.switch(false).await
    }

    /// Accepts connections again.
    pub async fn open(&self) -> Result<(), LightningError> {
        self.switch(true).await
    }

    async fn switch(&self, open: bool) -> Result<(), LightningError> {
        self.wanted.send_replace(open);
        let mut is_open = self.is_open.clone();
        is_open.wait_for(|is_open| *is_open == open).await.map_err(|_| LightningError::Stopped)?;
        Ok(())
    }
}

/// Never listens on `reserved`, so that connections are refused while there is no listener, and nobody else gets the port.
async fn run<F>(
    _reserved: TcpSocket,
    mut listener: TcpListener,
    address: SocketAddr,
    mut wants: watch::Receiver<bool>,
    opened: watch::Sender<bool>,
    serve: impl Fn(TcpStream) -> F,
) -> Option<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        accept(&listener, &mut wants, &serve).await?;
        // Dropped, it would go on listening in a process that is being started and still has a copy of it.
        let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        drop(listener);
        opened.send_replace(false);
        wants.wait_for(|open| *open).await.ok()?;
        listener = listen(address).ok()?;
        opened.send_replace(true);
    }
}

/// Serves until the port is to be closed.
async fn accept<F>(
    listener: &TcpListener,
    wants: &mut watch::Receiver<bool>,
    serve: impl Fn(TcpStream) -> F,
) -> Option<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    // Dropped with all connections in it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            closed = wants.wait_for(|open| !*open) => return closed.ok().map(drop),
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {},
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, LightningError> {
    bind(address)?.listen(BACKLOG).doing("listening on a loopback port")
}

/// Several sockets of ours can be bound to one port, and no other program's can.
fn bind(address: SocketAddr) -> Result<TcpSocket, LightningError> {
    let bound = TcpSocket::new_v4().and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        Ok(socket)
    });
    bound.doing("binding a loopback port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn greet(mut stream: TcpStream) {
        let _ = stream.write_all(b"hello").await;
        std::future::pending::<()>().await;
    }

    async fn greeting(port: u16) -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut read = [0; 5];
        stream.read_exact(&mut read).await?;
        Ok(read)
    }

    #[tokio::test]
    async fn a_closed_port_refuses_connections_and_opens_again() {
        let server = Loopback::serve(greet).await.unwrap();
        let mut connection = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        connection.read_exact(&mut [0; 5]).await.unwrap();
        for _ in 0..3 {
            assert_eq!(&greeting(server.port()).await.unwrap(), b"hello");
            server.close().await.unwrap();
            let refused = greeting(server.port()).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            server.open().await.unwrap();
        }
        assert!(!matches!(connection.read(&mut [0; 5]).await, Ok(1..)), "it was cut");
    }

    #[tokio::test]
    async fn a_port_closes_although_processes_are_being_started() {
        let server = Loopback::serve(greet).await.unwrap();
        let (stop, stops) = watch::channel(false);
        let starts = tokio::task::spawn_blocking(move || {
            while !*stops.borrow() {
                assert!(std::process::Command::new("true").status().unwrap().success());
            }
        });
        for _ in 0..200 {
            server.close().await.unwrap();
            let refused = greeting(server.port()).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            server.open().await.unwrap();
            assert_eq!(&greeting(server.port()).await.unwrap(), b"hello");
        }
        stop.send_replace(true);
        starts.await.unwrap();
    }
}
