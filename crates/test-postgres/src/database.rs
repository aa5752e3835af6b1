#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "this is tests: a panic is how they fail"
)]

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::runtime;
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use crate::janitor::{Janitor, token};
use crate::sql::{connect, explain, with_database};

/// What a template is called while it is being prepared.
const BUILDING: &str = "_building";

/// What PostgreSQL keeps of a longer name is its first 63 bytes.
const LONGEST_NAME: usize = 63;

/// A temporary database for one test, which is removed on drop.
///
/// It is on the server that `TITHE_TEST_POSTGRES_URL` names, by the URL of its administrative database; without that,
/// on one that this process starts and takes along when it ends.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// Copies the template `template_name`, which `prepare` makes of an empty database if the server does not have it
    /// yet: it is called with that database's URL, and once for all tests of all processes that use the server.
    ///
    /// A name must change when what `prepare` does changes: let it end in a fingerprint. It is of letters, digits, `_`
    /// and `-`, 54 at most. What `prepare` has connected is cut off when it returns, and nothing can connect after
    /// that.
    pub async fn create<F, P>(template_name: &str, prepare: F) -> Self
    where
        F: FnOnce(String) -> P,
        P: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
    {
        assert_name(template_name);
        let janitor = Janitor::get();
        let admin = janitor.address().await.unwrap_or_else(|error| panic!("{error}"));
        if let Err(error) = template_of_this_process(template_name)
            .get_or_try_init(|| prepare_template(&admin, template_name, prepare))
            .await
        {
            panic!("preparing the template {template_name}: {error}");
        }
        let name = next_name();
        // Before it exists: a test that is cancelled while it waits leaves nothing behind.
        let database = Self { url: with_database(&admin, &name), name };
        if let Err(error) = janitor.create(&database.name, template_name).await {
            panic!("copying the template {template_name}: {error}");
        }
        database
    }

    /// [`create`](Self::create) for a test that is not async.
    pub fn create_blocking<F, P>(template_name: &str, prepare: F) -> Self
    where
        F: FnOnce(String) -> P,
        P: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
    {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has what tokio needs").block_on(Self::create(template_name, prepare))
    }

    /// The database's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        Janitor::get().drop_database(std::mem::take(&mut self.name));
    }
}

fn assert_name(template: &str) {
    let fits = !template.is_empty() && template.len() + BUILDING.len() <= LONGEST_NAME;
    let plain = template.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    assert!(fits && plain, "a template's name is 1 to 54 letters, digits, _ and -: {template:?}");
}

fn next_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("t_{}_{}", token(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What the tests of this process wait for, so that not each of them asks the server.
fn template_of_this_process(template: &str) -> Arc<OnceCell<()>> {
    static TEMPLATES: LazyLock<Mutex<HashMap<String, Arc<OnceCell<()>>>>> = LazyLock::new(Mutex::default);
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(templates.entry(template.to_owned()).or_default())
}

/// Makes the template, unless it is there. It gets its name only when it is ready: one that a failure or a crash has
/// left half made is never taken for it.
async fn prepare_template<F, P>(admin: &str, template: &str, prepare: F) -> Result<(), String>
where
    F: FnOnce(String) -> P,
    P: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let client = connect(admin, "tithe-test-postgres template").await?;
    if exists(&client, template).await? {
        return Ok(());
    }
    // Other processes wait here; the lock ends with the connection, however that ends.
    let lock = "SELECT pg_advisory_lock(hashtextextended('tithe-test-postgres ' || $1, 0))";
    client.execute(lock, &[&template]).await.map_err(|error| explain(&error))?;
    if exists(&client, template).await? {
        return Ok(());
    }
    let building = format!("{template}{BUILDING}");
    execute(&client, &format!("DROP DATABASE IF EXISTS \"{building}\" WITH (FORCE)")).await?;
    execute(&client, &format!("CREATE DATABASE \"{building}\" TEMPLATE template0")).await?;
    prepare(with_database(admin, &building)).await.map_err(|error| explain(&*error))?;
    // A database that somebody is connected to can be neither renamed nor copied.
    execute(&client, &format!("ALTER DATABASE \"{building}\" ALLOW_CONNECTIONS false")).await?;
    let cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    client.execute(cut_off, &[&building]).await.map_err(|error| explain(&error))?;
    execute(&client, &format!("ALTER DATABASE \"{building}\" RENAME TO \"{template}\"")).await
}

async fn exists(client: &Client, database: &str) -> Result<bool, String> {
    let found = client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&database]).await;
    found.map(|row| row.is_some()).map_err(|error| explain(&error))
}

async fn execute(client: &Client, statement: &str) -> Result<(), String> {
    client.batch_execute(statement).await.map_err(|error| format!("{statement}: {}", explain(&error)))
}
