//! A pair of sockets that keep messages apart and carry descriptors (unix(7), `SOCK_SEQPACKET`, `SCM_RIGHTS`).
//!
//! One end stays here and is never inherited; the other is for a child. What a peer sends is bounded by what is asked for:
//! descriptors that nobody expected are closed.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::fds::set_nonblocking;

/// Our end.
#[derive(Debug)]
pub struct Seqpacket(AsyncFd<OwnedFd>);

/// Both are close-on-exec. Needs the tokio runtime, which will watch the first.
pub fn pair() -> io::Result<(Seqpacket, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    set_nonblocking(ours.as_fd())?;
    // SAFETY: an OwnedFd stays open and the same until it is dropped, and it is dropped with the AsyncFd.
    let watched = unsafe { AsyncFd::register_with_interest(ours, Interest::READABLE | Interest::WRITABLE) };
    Ok((Seqpacket(watched.map_err(io::Error::from)?), theirs))
}

impl Seqpacket {
    /// Sends one message, and copies of descriptors with it.
    ///
    /// # Errors
    /// `EPIPE` or `ECONNRESET` when the other end is closed.
    pub async fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let send = |fd: &OwnedFd| {
            let parts = [IoSlice::new(message)];
            Ok(sendmsg::<()>(fd.as_raw_fd(), &parts, rights, MsgFlags::MSG_NOSIGNAL, None)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// The next message, cut off after 4 KiB, and the one descriptor that may come with it. `None` at the end.
    pub async fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let receive = |fd: &OwnedFd| {
            let mut text = vec![0; 4096];
            let mut room = nix::cmsg_space!(RawFd);
            let (length, numbers) = {
                let mut parts = [IoSliceMut::new(&mut text)];
                let flags = MsgFlags::MSG_CMSG_CLOEXEC;
                let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
                let rights = message.cmsgs()?.filter_map(|sent| match sent {
                    ControlMessageOwned::ScmRights(numbers) => Some(numbers),
                    _ => None,
                });
                (message.bytes, rights.flatten().collect::<Vec<RawFd>>())
            };
            text.truncate(length);
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows their numbers.
            let mut rights = numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) });
            let first = rights.next();
            rights.for_each(drop);
            Ok((text, first))
        };
        let (text, descriptor) = self.0.async_io(Interest::READABLE, receive).await?;
        Ok((!text.is_empty()).then_some((text, descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    /// The other end, as a child would use it.
    fn plain(fd: &OwnedFd) -> File {
        File::from(fd.try_clone().unwrap())
    }

    #[tokio::test]
    async fn a_descriptor_arrives_as_the_same_file() {
        let (ours, theirs) = pair().unwrap();
        let (theirs_async, their_peer) = (theirs.try_clone().unwrap(), ours);
        let (read, write) = crate::fds::pipe().unwrap();
        their_peer.send(b"take this", &[write.as_fd()]).await.unwrap();
        drop(write);

        let mut room = nix::cmsg_space!(RawFd);
        let mut text = [0; 64];
        let mut parts = [IoSliceMut::new(&mut text)];
        let message =
            recvmsg::<()>(theirs_async.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::empty()).unwrap();
        let Some(ControlMessageOwned::ScmRights(numbers)) = message.cmsgs().unwrap().next() else {
            panic!("no descriptor came")
        };
        assert_eq!(message.bytes, 9);
        // SAFETY: the kernel has just made it for this test.
        let mut copy = File::from(unsafe { OwnedFd::from_raw_fd(numbers[0]) });
        copy.write_all(b"through").unwrap();
        drop(copy);
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).unwrap();
        assert_eq!(said, "through");
    }

    #[tokio::test]
    async fn messages_stay_apart_and_the_end_is_the_end() {
        let (ours, theirs) = pair().unwrap();
        plain(&theirs).write_all(b"one").unwrap();
        plain(&theirs).write_all(b"two").unwrap();
        drop(theirs);
        for expected in [b"one", b"two"] {
            let (text, descriptor) = ours.receive().await.unwrap().unwrap();
            assert_eq!((text.as_slice(), descriptor.is_none()), (&expected[..], true));
        }
        assert!(ours.receive().await.unwrap().is_none());
        assert!(ours.send(b"anybody?", &[]).await.is_err());
    }
}
