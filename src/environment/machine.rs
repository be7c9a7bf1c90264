//! The machine, asked on a thread of its own: a driver that hangs takes that thread with it and
//! nothing else.
//!
//! Each question has a time after which its answer is unknown. A thread that hangs gets no
//! further questions; when the driver lives again, it answers again.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::gpu::{self, Gpu};
use super::{amd, host, nvidia};
use crate::domain::{Conditions, Facts, GpuReading};

/// Starting the driver's library takes some seconds where nobody else uses the GPU.
const FACTS_TIMEOUT: Duration = Duration::from_secs(5);
/// A reading takes milliseconds.
const READING_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the conditions are read while a sample runs.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The most readings that are kept of a sample: four hours. Of a longer one the last is that of
/// its end all the same.
const MOST_READINGS: usize = 4 * 3600;
/// Questions that may wait for a thread that is busy.
const QUEUE: usize = 4;

/// Where a machine is asked: the real one by default, another in tests.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder in which `proc` and `sys` lie.
    pub root: PathBuf,
    /// The library of NVIDIA's driver, as the system's loader finds it.
    pub nvidia_library: OsString,
}

impl Default for Places {
    fn default() -> Self {
        Self { root: PathBuf::from("/"), nvidia_library: nvidia::LIBRARY.into() }
    }
}

/// This machine. Cheap to clone; the thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Machine {
    orders: SyncSender<Order>,
}

enum Order {
    Tell(oneshot::Sender<Facts>),
    /// From now on conditions are read; says so when the first reading is done.
    Begin(oneshot::Sender<()>),
    End(oneshot::Sender<Conditions>),
    /// Nothing will be asked for a while.
    LetGo,
}

impl Machine {
    /// Starts the thread. Without `reads_gpu` no GPU is asked.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(places: Places, reads_gpu: bool) -> std::io::Result<Self> {
        let (orders, queue) = sync_channel(QUEUE);
        let mut prober = Prober { places, reads_gpu, driver: None, is_warned: false };
        std::thread::Builder::new().name("environment".to_owned()).spawn(move || prober.obey(&queue))?;
        Ok(Self { orders })
    }

    /// What of the machine does not change by itself; what does not answer is left out.
    pub async fn facts(&self) -> Facts {
        self.ask(Order::Tell, FACTS_TIMEOUT).await.unwrap_or_default()
    }

    /// Reads the conditions from now on, about once a second, until [`Watch::end`]. Returns
    /// when that has begun; `None` where the machine does not answer.
    pub async fn watch(&self) -> Option<Watch> {
        // Dropped in the middle of the question, it ends what the question began.
        let watch = Watch { machine: self.clone() };
        self.ask(Order::Begin, READING_TIMEOUT).await.map(|()| watch)
    }

    /// Lets go of the driver, so that it can be replaced, until the next question.
    pub fn let_go(&self) {
        let _ = self.orders.try_send(Order::LetGo);
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order, limit: Duration) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(order(reply)).ok()?;
        timeout(limit, answer).await.ok()?.ok()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

/// Readings that go on until this is ended or dropped.
#[derive(Debug)]
pub struct Watch {
    machine: Machine,
}

impl Watch {
    /// What was seen since the beginning; `None` where the machine does not answer.
    pub async fn end(self) -> Option<Conditions> {
        self.machine.ask(Order::End, READING_TIMEOUT).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After an end there is nothing left to end.
        let (reply, _) = oneshot::channel();
        let _ = self.machine.orders.try_send(Order::End(reply));
    }
}

/// What lives on the thread.
struct Prober {
    places: Places,
    reads_gpu: bool,
    driver: Option<nvidia::Driver>,
    /// Whether the log knows that the driver does not answer.
    is_warned: bool,
}

/// What has been read of a sample.
struct Readings {
    began: Instant,
    readings: Vec<(Duration, GpuReading)>,
}

impl Prober {
    /// Answers until nobody can ask any more.
    fn obey(&mut self, orders: &Receiver<Order>) {
        let mut readings: Option<Readings> = None;
        loop {
            let order = match &readings {
                Some(_) => orders.recv_timeout(READ_EVERY),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Tell(reply)) => _ = reply.send(self.facts()),
                Ok(Order::Begin(reply)) => {
                    let mut begun = Readings { began: Instant::now(), readings: Vec::new() };
                    self.read_into(&mut begun);
                    readings = Some(begun);
                    let _ = reply.send(());
                }
                Ok(Order::End(reply)) => {
                    if let Some(mut ended) = readings.take() {
                        self.read_into(&mut ended);
                        let _ = reply.send(Conditions::of(&ended.readings));
                    }
                }
                Ok(Order::LetGo) => self.driver = None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(running) = &mut readings {
                        self.read_into(running);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn facts(&mut self) -> Facts {
        let mut facts = Facts::new();
        facts.extend(host::kernel(&self.places.root).map(|release| ("kernel".to_owned(), release)));
        if !self.reads_gpu {
            return facts;
        }
        let versions = self.nvidia(nvidia::Driver::versions).unwrap_or_default();
        let module = if host::has_nvidia_driver(&self.places.root) { "nvidia" } else { "amdgpu" };
        let driver = versions.driver.or_else(|| host::driver_version(&self.places.root, module));
        facts.extend(driver.map(|version| ("driver_version".to_owned(), version)));
        facts.extend(versions.cuda.map(|version| ("cuda_version".to_owned(), version)));
        facts.extend(gpu::facts(&self.gpus()));
        facts
    }

    fn read_into(&mut self, sample: &mut Readings) {
        if !self.reads_gpu {
            return;
        }
        let reading = gpu::reading(&self.gpus());
        sample.readings.truncate(MOST_READINGS - 1);
        sample.readings.push((sample.began.elapsed(), reading));
    }

    /// A machine with NVIDIA's driver may have a small GPU of AMD's in its processor, which must
    /// not take the place of one that is silent for a while.
    fn gpus(&mut self) -> Vec<Gpu> {
        match self.nvidia(nvidia::Driver::gpus) {
            Some(gpus) if !gpus.is_empty() => gpus,
            _ if host::has_nvidia_driver(&self.places.root) => Vec::new(),
            _ => amd::gpus(&self.places.root),
        }
    }

    /// Asks NVIDIA's driver, opening its library where that is due. One that answers no more
    /// may have been replaced: it is opened anew once.
    fn nvidia<T, E: fmt::Display>(&mut self, ask: fn(&nvidia::Driver) -> Result<T, E>) -> Option<T> {
        if let Some(driver) = &self.driver {
            match ask(driver) {
                Ok(answer) => return Some(answer),
                Err(_) => self.driver = None,
            }
        }
        let opened = nvidia::Driver::open(&self.places.nvidia_library).map_err(|error| error.to_string());
        let answer = opened.and_then(|driver| {
            let answer = ask(&driver).map_err(|error| error.to_string());
            self.driver = Some(driver);
            answer
        });
        match answer {
            Ok(answer) => {
                self.is_warned = false;
                Some(answer)
            }
            Err(error) => {
                // Elsewhere there is nothing to ask.
                if host::has_nvidia_driver(&self.places.root) && !self.is_warned {
                    tracing::warn!(error, "NVIDIA's driver is loaded but does not answer; its GPUs are unknown");
                    self.is_warned = true;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::amd::tests::{Tree, radeon};
    use super::*;

    /// The facts of a machine of those files without NVIDIA's library.
    async fn check(tree: &Tree, reads_gpu: bool, expected: &[(&str, &str)]) {
        let facts = machine(tree, reads_gpu).facts().await;
        let facts: Vec<(&str, &str)> = facts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(facts, expected);
    }

    fn machine(tree: &Tree, reads_gpu: bool) -> Machine {
        let places = Places { root: tree.root().to_owned(), nvidia_library: tree.root().join("none.so").into() };
        Machine::start(places, reads_gpu).expect("a thread")
    }

    #[tokio::test]
    async fn what_a_machine_tells_is_its_identity() {
        let tree = Tree::of(&[("proc/sys/kernel/osrelease", "6.12.0-amd64\n")]);
        check(&tree, true, &[("kernel", "6.12.0-amd64")]).await;
        tree.add(&radeon("card1"));
        tree.add(&[("sys/module/amdgpu/version".to_owned(), "6.10.5\n".to_owned())]);
        let gpu = [
            ("driver_version", "6.10.5"),
            ("gpu", "AMD Radeon PRO W7900"),
            ("gpu_count", "1"),
            ("gpu_vbios", "113-D7070100-138"),
            ("kernel", "6.12.0-amd64"),
            ("power_limit", "241"),
        ];
        check(&tree, true, &gpu).await;
        check(&tree, false, &[("kernel", "6.12.0-amd64")]).await;
        // NVIDIA's driver is there and silent: the other GPU does not take its GPU's place.
        tree.add(&[("sys/module/nvidia/version".to_owned(), "580.95.05\n".to_owned())]);
        check(&tree, true, &[("driver_version", "580.95.05"), ("kernel", "6.12.0-amd64")]).await;
        check(&Tree::of(&[]), true, &[]).await;
    }

    #[tokio::test]
    async fn conditions_are_those_from_the_beginning_to_the_end() {
        let tree = Tree::of(&[]);
        tree.add(&radeon("card0"));
        let machine = machine(&tree, true);
        let watch = machine.watch().await.expect("an answer");
        let sensors = "sys/class/drm/card0/device/hwmon/hwmon4";
        tree.add(&[(format!("{sensors}/temp1_input"), "71000\n".to_owned())]);
        let conditions = watch.end().await.expect("an answer");
        assert_eq!(conditions.gpu_temperature_celsius, Some(71.0));
        assert_eq!(conditions.power_watts, Some(187.0));
        assert_eq!(conditions.gpu_utilization, Some(0.98));
        // One that was given up is no part of the next.
        tree.add(&[(format!("{sensors}/temp1_input"), "54000\n".to_owned())]);
        let watch = machine.watch().await.expect("an answer");
        drop(watch);
        let watch = machine.watch().await.expect("an answer");
        machine.let_go();
        assert_eq!(watch.end().await.expect("an answer").gpu_temperature_celsius, Some(54.0));
    }

    #[tokio::test]
    async fn a_machine_without_gpus_has_no_conditions() {
        let watch = machine(&Tree::of(&[]), true).watch().await.expect("an answer");
        assert_eq!(watch.end().await, Some(Conditions::default()));
    }
}
