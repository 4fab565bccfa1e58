//! A caller's share of what may wait for the writers: whoever floods is refused before the queue is full, and leaves room
//! for the others.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
};

use crate::{store::NotTaken, telemetry};

/// What one caller has waiting.
#[derive(Debug, Default)]
pub(super) struct Share(AtomicUsize);

impl Share {
    /// Room for so many, next to what the caller has waiting already.
    ///
    /// # Errors
    /// Where that would be more than `most`. Nothing is handed in then.
    pub(super) fn take(self: &Arc<Self>, wanted: usize, most: usize) -> Result<Taken, NotTaken> {
        let fits = |waiting: usize| waiting.checked_add(wanted).filter(|sum| *sum <= most);
        match self.0.fetch_update(SeqCst, SeqCst, fits) {
            Ok(_) => Ok(Taken { share: self.clone(), number: wanted }),
            Err(_) => {
                telemetry::not_taken(wanted, "caller_share");
                Err(NotTaken::QueueFull)
            }
        }
    }
}

/// A part of the share, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    share: Arc<Share>,
    number: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.share.0.fetch_sub(self.number, SeqCst);
    }
}

impl Taken {
    /// Holds the part until the work is done, also when nobody waits for it any more: what a caller handed in waits on
    /// when the caller hangs up.
    pub(super) fn until<W>(self, work: W) -> Held<W>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        Held(Some((Box::pin(work), self)))
    }
}

/// Work that holds a part of a share.
pub(super) struct Held<W: Future<Output: Send> + Send + 'static>(Option<(Pin<Box<W>>, Taken)>);

impl<W: Future<Output: Send> + Send + 'static> Future for Held<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        let (work, _) = self.0.as_mut().expect("nobody polls what has ended");
        let done = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(done)
    }
}

impl<W: Future<Output: Send> + Send + 'static> Drop for Held<W> {
    fn drop(&mut self) {
        let Some((work, taken)) = self.0.take() else { return };
        // Without a runtime the process ends, and the share with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                work.await;
                drop(taken);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn waiting(share: &Arc<Share>) -> usize {
        share.0.load(SeqCst)
    }

    #[test]
    fn a_share_is_taken_up_to_its_last_place_and_given_back() {
        let share = Arc::new(Share::default());
        let two = share.take(2, 3).unwrap();
        assert_eq!(share.take(2, 3).unwrap_err(), NotTaken::QueueFull);
        let one = share.take(1, 3).unwrap();
        assert_eq!(share.take(1, 3).unwrap_err(), NotTaken::QueueFull);
        drop(two);
        assert!(share.take(2, 3).is_ok());
        assert_eq!(share.take(usize::MAX, 3).unwrap_err(), NotTaken::QueueFull);
        drop(one);
        assert_eq!(waiting(&share), 0);
    }

    #[tokio::test]
    async fn who_hangs_up_has_no_more_room_than_who_waits() {
        let share = Arc::new(Share::default());
        let (done, work) = oneshot::channel::<()>();
        let held = share.take(1, 1).unwrap().until(work);
        drop(held);
        tokio::task::yield_now().await;
        assert_eq!(share.take(1, 1).unwrap_err(), NotTaken::QueueFull);
        done.send(()).unwrap();
        while waiting(&share) != 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_is_answered_has_his_room_back() {
        let share = Arc::new(Share::default());
        assert_eq!(share.take(1, 1).unwrap().until(async { 7 }).await, 7);
        assert_eq!(waiting(&share), 0);
    }
}
