//! A list of events as the body of an answer, which may go on as long as somebody reads.

use hyper::body::{Body, Bytes, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// From being cut off to the end of the connection: time to read what was sent already.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Events, one JSON document a line.
#[derive(Debug)]
pub struct EventStream {
    /// What happened lately.
    pub past: String,
    /// What is to come, for who follows.
    pub following: Option<Following>,
}

/// What a follower gets.
#[derive(Debug)]
pub struct Following {
    /// One line each.
    pub lines: mpsc::Receiver<String>,
    /// Its other end is gone when no more lines come: the daemon stops, or cuts off who is slow.
    pub cut: watch::Receiver<()>,
}

/// The body of an answer: once, or as long as events come.
#[derive(Debug)]
pub struct Lines {
    first: Option<Bytes>,
    more: Option<mpsc::Receiver<String>>,
}

impl Lines {
    /// A whole document.
    pub fn whole(document: Bytes) -> Self {
        let (first, more) = (Some(document), None);
        Lines { first, more }
    }

    /// These, and those to come.
    pub fn open(past: String, more: Option<mpsc::Receiver<String>>) -> Self {
        let first = Some(Bytes::from(past)).filter(|past| !past.is_empty());
        Lines { first, more }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(more) = &mut self.more else {
            return Poll::Ready(None);
        };
        let line = ready!(more.poll_recv(context));
        Poll::Ready(line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.more.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match (&self.more, &self.first) {
            (Some(_), _) => hyper::body::SizeHint::default(),
            (None, first) => {
                hyper::body::SizeHint::with_exact(first.as_ref().map_or(0, |b| b.len() as u64))
            }
        }
    }
}

/// Whether, and how long, an answer may outlast the time of an ordinary connection.
#[derive(Clone, Debug)]
pub struct Lasts(pub watch::Receiver<()>);

impl Lasts {
    /// Returns once nothing more comes, and there was time to read it.
    pub async fn over(mut self) {
        while self.0.changed().await.is_ok() {}
        tokio::time::sleep(LAST_WORDS).await;
    }
}
