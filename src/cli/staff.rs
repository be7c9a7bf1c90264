//! From the configuration to the targets that the engine works on.
//!
//! The servers' clients live here, so that a target which stays keeps its own, and a key that
//! changed on the disk reaches it without a stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::client::Client;
use crate::config::{self, Config};
use crate::domain::TargetId;
use crate::domain::plan::{Secret, TargetPlan};
use crate::environment::{Machine, Places};
use crate::soak::budget::DAY;
use crate::soak::{HttpBackend, SoakTarget, Surroundings, Switch};
use crate::store::Reader;

/// What runs, though another file may bear its name by now.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// A target as it is soaked now.
#[derive(Debug)]
struct Post {
    /// As configured, but for the key.
    plan: Arc<TargetPlan>,
    key: Option<Secret>,
    client: Client,
}

/// The targets with their clients.
#[derive(Debug)]
pub(super) struct Staff {
    storage: PathBuf,
    posts: BTreeMap<String, Post>,
}

impl Staff {
    pub(super) fn new(storage: PathBuf) -> Self {
        Self { storage, posts: BTreeMap::new() }
    }

    /// The targets of a configuration for the engine. Where it fails, nothing has changed.
    pub(super) fn targets(&mut self, config: &Config, now: Timestamp) -> anyhow::Result<Vec<SoakTarget<HttpBackend>>> {
        let posts = config.targets.iter().map(|plan| Ok((plan.name.clone(), self.post(plan)?)));
        let posts: BTreeMap<String, Post> = posts.collect::<anyhow::Result<_>>()?;
        let history = Reader::open(&self.storage)?;
        let targets = config.targets.iter().filter_map(|plan| posts.get(&plan.name));
        let targets = targets.map(|post| target(&history, post, now)).collect::<anyhow::Result<_>>()?;
        for (name, post) in &posts {
            // A new client has its key.
            if self.posts.get(name).is_some_and(|known| known.key != post.key) {
                post.client.set_key(post.key.as_ref())?;
            }
        }
        self.posts = posts;
        Ok(targets)
    }

    /// The post of a target: the one that it has, if nothing but its key has changed.
    fn post(&self, plan: &TargetPlan) -> anyhow::Result<Post> {
        let (mut keyless, key) = (plan.clone(), plan.connection.api_key.clone());
        keyless.connection.api_key = None;
        match self.posts.get(&plan.name).filter(|post| *post.plan == keyless) {
            Some(post) => Ok(Post { plan: post.plan.clone(), key, client: post.client.clone() }),
            None => {
                let client = Client::new(&plan.connection).with_context(|| format!("target {}", plan.name))?;
                Ok(Post { plan: Arc::new(keyless), key, client })
            }
        }
    }

    /// Reads the files of keys again, and lets the clients use what changed.
    pub(super) fn read_keys_again(&mut self) {
        for (target, post) in &mut self.posts {
            let Some(path) = &post.plan.connection.api_key_file else { continue };
            let key = match config::read_key_file(path) {
                Ok(key) => Some(key),
                Err(error) => {
                    tracing::warn!(target, %error, "the key cannot be read again; the last one is used");
                    continue;
                }
            };
            if post.key == key {
                continue;
            }
            match post.client.set_key(key.as_ref()) {
                Ok(()) => {
                    tracing::info!(target, "the key changed and is used from now on");
                    post.key = key;
                }
                Err(error) => tracing::warn!(target, %error, "the key is not used; the last one is"),
            }
        }
    }
}

/// A model that the plan leaves open is the history's last.
fn target(history: &Reader, post: &Post, now: Timestamp) -> anyhow::Result<SoakTarget<HttpBackend>> {
    let plan = &post.plan;
    let known = history.newest_epoch(&plan.name, plan.model.as_deref())?;
    let model = plan.model.clone().or(known.map(|known| known.target.model.to_string()));
    let backend = HttpBackend::new(post.client.clone(), plan.model.clone(), Arc::new(plan.request.clone()))
        .switched_by(Switch::new(plan, OWN_EXECUTABLE.into()));
    let since = now.checked_sub(DAY).unwrap_or(Timestamp::MIN);
    let spent = history.spending(&plan.name, since)?;
    let id = TargetId::new(&plan.name, &model.unwrap_or_default());
    let canary_at = history.newest_canary(&id)?.map(|(at, _)| at);
    let surroundings = Arc::new(surroundings(post)?);
    Ok(SoakTarget { id, backend: Arc::new(backend), surroundings, plan: plan.clone(), spent, canary_at })
}

/// Of a server elsewhere this machine's kernel and GPUs say nothing.
fn surroundings(post: &Post) -> anyhow::Result<Surroundings> {
    let plan = &post.plan;
    let is_local = post.client.is_on_this_machine();
    let machine = is_local.then(|| Machine::start(Places::default(), plan.environment.reads_gpu)).transpose();
    let machine = machine.context("cannot start a thread that asks about this machine")?;
    Ok(Surroundings::new(&plan.name, &plan.environment, machine, Path::new(OWN_EXECUTABLE)))
}
