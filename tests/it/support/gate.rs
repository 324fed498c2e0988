//! The steps of calls that a test slows down.

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Lets calls take their steps.
pub struct Gate(Semaphore);

impl Gate {
    /// Every step yields, and none waits for long.
    pub fn open() -> Self {
        Self(Semaphore::new(Semaphore::MAX_PERMITS / 2))
    }

    /// No call takes a step until [`Gate::pass`].
    pub fn shut() -> Self {
        Self(Semaphore::new(0))
    }

    /// Lets calls take this many steps.
    pub fn pass(&self, steps: usize) {
        self.0.add_permits(steps);
    }

    /// Lets calls take all steps from now on.
    pub fn unlock(&self) {
        self.pass(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until a call may take its next step.
    pub async fn step(&self) {
        self.0.acquire().await.expect("never closed").forget();
        yield_now().await;
    }
}
