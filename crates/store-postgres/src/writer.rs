//! The connection that writes batches.
//!
//! A batch takes two round trips: `BEGIN` with everything that locks and loads; then everything that writes, with
//! `COMMIT`. In a round trip the statements are sent one after the other without waiting for answers, so that a batch
//! costs two of them however many kinds of rows it touches. Its statements are prepared before it: preparing one in the
//! middle of a round trip would let the next overtake it.
//!
//! One statement for each table locks and loads, in the order of the locks. One statement for all tables writes
//! (`parts`), prepared when the first batch of its shape comes.
//!
//! A round trip in which anything fails leaves nothing: PostgreSQL answers `COMMIT` in a failed transaction with a
//! rollback. If the connection is lost before the answer to `COMMIT`, the batch may have been written or not. Each
//! batch therefore also writes its number into this server's row of `committers`, and that row shows the outcome.
//! Before it is believed, the number is put beyond that of the lost batch: this waits for a transaction that is still
//! open, and the table refuses one whose statements arrive even later.
//!
//! A commit is acknowledged only if the database warns of nothing meanwhile: it answers a commit whose wait for a synchronous standby
//! was cancelled with success and a warning.

use crate::connector::{Connector, Opened, Purpose};
use crate::failure::{Failure, may_have_committed, redacted};
use crate::parts::{Parts, parts};
use crate::server_id::ServerId;
use crate::simple_query::row;
use crate::table::{Column, Table, prepare_lock};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::{FutureExt, TryFutureExt};
use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tithe_engine::books::{Batch, Committed, Decided, LoadedRows, RowKeys};
use tithe_engine::for_each_row_kind;
use tithe_ledger::TransferKey;
use tithe_store_sql::Stored;
use tokio::time::Instant;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Error, Row, Statement};

const TRANSFERS_EXIST: &str = "SELECT key FROM unnest($1::text[]) AS given (key) JOIN transfers USING (key)";

/// Whether a commit has been waiting for a synchronous standby for so long that the standby must be lost.
const WAITS_FOR_STANDBY: &str = "\
    SELECT count(*) > 0 FROM pg_stat_activity \
    WHERE wait_event = 'SyncRep' AND datname = current_database() AND clock_timestamp() - state_change > interval '2 seconds'";

/// Makes this server's row before its first batch: a row that does not exist cannot be waited for.
const ENROL: &str = "\
    INSERT INTO committers (id, batch) VALUES ($1, 0) \
    ON CONFLICT (id) DO UPDATE SET seen_at = now()";

/// Ensures that an uncommitted batch can never be committed later.
const FENCE: &str = "\
    INSERT INTO committers (id, batch) VALUES ($1, $2::bigint + 1) \
    ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, seen_at = now() WHERE committers.batch < $2::bigint";

const LAST_MARK: &str = "SELECT batch FROM committers WHERE id = $1";

/// A server that has written nothing for so long will not look up what it has written.
const DELETE_OLD: &str = "DELETE FROM committers WHERE id <> $1 AND seen_at < now() - interval '30 days'";

/// Writes batches, one at a time.
pub(crate) struct Writer {
    connector: Arc<Connector>,
    link: Option<Link>,
    /// This server's id, in `committers` and in notifications.
    server: ServerId,
    /// The number of the last batch that was tried.
    batch: i64,
    /// A batch whose outcome is not known yet.
    in_doubt: Option<InDoubtCommit>,
}

/// A connection with its statements.
struct Link {
    opened: Opened,
    statements: Statements,
    /// The statements of the second round trip, by shape.
    shapes: HashMap<u64, Statement>,
    plans: Plans,
    /// Set when the database has warned of something.
    warned: Arc<AtomicBool>,
}

/// When the plans of a connection's statements were made. A plan that was made for a small table does not fit a large one, and until
/// the database has analysed the table again, which takes it a minute, only we know that it grows.
struct Plans {
    made_at: Instant,
    /// How many batches the connection has seen.
    batches: u64,
}

impl Plans {
    fn new() -> Self {
        Self { made_at: Instant::now(), batches: 0 }
    }

    /// Counts a batch, and returns whether the plans are to be made anew: at first each time that the batches have doubled, later
    /// every minute.
    fn are_outdated(&mut self) -> bool {
        self.batches += 1;
        let outdated = self.batches.is_power_of_two() || self.made_at.elapsed() > PLANS_LIFE;
        if outdated {
            self.made_at = Instant::now();
        }
        outdated
    }
}

/// A batch that may have been committed.
struct InDoubtCommit {
    number: i64,
    committed: Committed,
}

/// How long the plans of statements are kept.
const PLANS_LIFE: Duration = Duration::from_mins(1);

/// The most shapes that a connection keeps statements for. There are a few dozen in practice.
const SHAPES_MAX: usize = 256;

impl Writer {
    pub(crate) fn new(connector: Arc<Connector>, server: ServerId) -> Self {
        Self { connector, link: None, server, batch: 0, in_doubt: None }
    }

    /// Tries a batch once. After [`Failure::Unknown`], the next attempt first looks up the outcome of this one.
    pub(crate) async fn attempt(&mut self, batch: &Batch) -> Result<Committed, Failure> {
        // Taken out, so that an interrupted round trip discards its connection.
        let patience = self.connector.settings.answer_deadline();
        let mut link = match self.link.take() {
            Some(link) if !link.client().is_closed() => link,
            _ => in_time(patience, Link::open(&self.connector, &self.server))
                .await
                .map_err(Failure::connecting)?,
        };
        if let Some(earlier) = &self.in_doubt {
            let committed = in_time(patience, link.has_committed(&self.server, earlier.number)).await?;
            // The number after it is used up by keeping it from being committed later.
            self.batch += 1;
            let earlier = self.in_doubt.take();
            if let Some(earlier) = earlier.filter(|_| committed) {
                self.link = Some(link);
                return Ok(earlier.committed);
            }
        }
        if link.plans.are_outdated() {
            in_time(patience, async { Ok(link.client().batch_execute("DISCARD PLANS").await?) }).await?;
        }
        let loaded = match in_time(patience, link.load(batch.keys())).await {
            Ok(loaded) => loaded,
            Err(failure) => {
                self.keep_after(&failure, link, patience).await;
                return Err(failure);
            }
        };
        let Decided { outcomes, changes } = batch.decide(loaded);
        if changes.is_empty() {
            // Nothing to write: the outcomes do not depend on the transaction.
            self.keep(link, patience).await;
            return Ok(Committed { outcomes, job_changes: Vec::new() });
        }
        self.batch += 1;
        let committed = Committed { outcomes, job_changes: changes.job_changes.clone() };
        let parts = parts(&changes, &self.server, self.batch)?;
        let statement = match in_time(patience, link.statement_for(&parts)).await {
            Ok(statement) => statement,
            Err(failure) => {
                self.keep_after(&failure, link, patience).await;
                return Err(failure);
            }
        };
        let committing = tokio::time::timeout(patience, link.commit(&statement, &parts)).await;
        let written = committing.unwrap_or_else(|late| Err(Failure::Unknown(late.into())));
        match written {
            Ok(()) => {
                self.link = Some(link);
                Ok(committed)
            }
            Err(failure) => {
                if let Failure::Unknown(_) = failure {
                    self.in_doubt = Some(InDoubtCommit { number: self.batch, committed });
                } else {
                    self.keep_after(&failure, link, patience).await;
                }
                Err(failure)
            }
        }
    }

    /// Stops looking up the outcome of the last batch and returns whether it is still unknown. The next number may
    /// already have been used.
    pub(crate) fn forget_in_doubt(&mut self) -> bool {
        let in_doubt = self.in_doubt.take().is_some();
        self.batch += i64::from(in_doubt);
        in_doubt
    }

    /// Keeps the connection after a failure, unless the database did not answer on it: it would not answer a rollback either, and
    /// ends the transaction when the connection is closed.
    async fn keep_after(&mut self, failure: &Failure, link: Link, patience: Duration) {
        if !failure.is_silence() {
            self.keep(link, patience).await;
        }
    }

    /// Ends the transaction and keeps the connection, if it still works.
    async fn keep(&mut self, link: Link, patience: Duration) {
        let ended = tokio::time::timeout(patience, link.client().batch_execute("ROLLBACK")).await;
        if matches!(ended, Ok(Ok(()))) {
            self.link = Some(link);
        }
    }
}

/// Whether the database warns of something. The text is in its language.
fn is_warning(message: &AsyncMessage) -> bool {
    matches!(message, AsyncMessage::Notice(notice) if notice.parsed_severity() == Some(Severity::Warning))
}

async fn in_time<T>(
    patience: Duration,
    round_trip: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(patience, round_trip)
        .await
        .unwrap_or_else(|late| Err(Failure::Unavailable(late.into())))
}

impl Link {
    async fn open(connector: &Connector, server: &ServerId) -> Result<Self, Failure> {
        // It is opened at the start and after a loss: when a standby may have been promoted.
        connector.compare_hosts().await;
        let warned = Arc::new(AtomicBool::new(false));
        let warns = Arc::clone(&warned);
        let opened = connector
            .client(move |message| {
                if is_warning(&message) {
                    warns.store(true, Ordering::SeqCst);
                }
            })
            .await?;
        let client = &opened.client;
        client.batch_execute(&connector.session(Purpose::Batches)).await?;
        // Every commit would hang, and leave a connection at the database that ends when the standby is back.
        let waits = row(client, WAITS_FOR_STANDBY).await;
        if waits.is_ok_and(|columns| columns == [Some("t".to_owned())]) {
            return Err(Failure::Unavailable(
                "commits wait for a synchronous standby that does not answer".into(),
            ));
        }
        client.execute(DELETE_OLD, &[&server.as_str()]).await?;
        client.execute(ENROL, &[&server.as_str()]).await?;
        let statements = Statements::prepare(client).await?;
        Ok(Self { opened, statements, shapes: HashMap::new(), plans: Plans::new(), warned })
    }

    const fn client(&self) -> &Client {
        &self.opened.client
    }

    /// Refuses a commit that the database has warned of. When the wait for a synchronous standby is cancelled, PostgreSQL warns, and
    /// answers as if the transaction were safe: it is on the primary alone.
    fn refuse_warned(&self) -> Result<(), Failure> {
        if self.warned.swap(false, Ordering::SeqCst) {
            return Err(Failure::Unknown(
                "the database committed with a warning: its standby may lack the batch".into(),
            ));
        }
        Ok(())
    }

    /// Whether this server's batch of that number was committed. If not, it never will be.
    async fn has_committed(&self, server: &ServerId, number: i64) -> Result<bool, Failure> {
        self.warned.store(false, Ordering::SeqCst);
        self.client().execute(FENCE, &[&server.as_str(), &number]).await?;
        // The fence, too, waits for the standby, and with it for everything before it.
        self.refuse_warned()?;
        let last: i64 = self.client().query_one(LAST_MARK, &[&server.as_str()]).await?.try_get(0)?;
        Ok(last == number)
    }

    /// The first round trip.
    async fn load(&self, keys: &RowKeys) -> Result<LoadedRows, Failure> {
        let reads = self.statements.reads(keys);
        let begin = self.client().batch_execute("BEGIN").map_ok(|()| Vec::new()).boxed();
        let loads = reads.iter().map(|read| match read {
            Some((statement, columns)) => self.query(statement, columns),
            None => std::future::ready(Ok(Vec::new())).boxed(),
        });
        let answers = in_order(std::iter::once(begin).chain(loads).collect()).await;
        let mut answers = answers.into_iter();
        // The answer to BEGIN.
        answers.next().transpose()?;
        let loaded = loaded_rows(answers)?;
        if loaded.is_torn(keys) {
            return Err(Failure::Conflict(
                "a row was made by another server while its guard was read".into(),
            ));
        }
        Ok(loaded)
    }

    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        columns: &'a [Column],
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        async move { self.client().query(statement, &parameters(columns)).await }.boxed()
    }

    /// The statement that writes batches of this shape.
    async fn statement_for(&mut self, parts: &Parts) -> Result<Statement, Failure> {
        if let Some(statement) = self.shapes.get(&parts.shape()) {
            return Ok(statement.clone());
        }
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.clear();
        }
        let statement = self.client().prepare(&parts.sql()).await?;
        self.shapes.insert(parts.shape(), statement.clone());
        Ok(statement)
    }

    /// The second round trip.
    async fn commit(&self, statement: &Statement, parts: &Parts) -> Result<(), Failure> {
        let parameters = parts.parameters();
        self.warned.store(false, Ordering::SeqCst);
        let write = async { self.client().execute(statement, &parameters).await.map(drop) }.boxed();
        let commit = self.client().batch_execute("COMMIT").boxed();
        let mut answers = in_order(vec![write, commit]).await;
        let committed = answers.pop().unwrap_or(Ok(()));
        // A refused statement has undone everything, whatever the other answers say.
        let mut lost = None;
        for cause in answers.into_iter().filter_map(Result::err) {
            if cause.code().is_some() {
                return Err(cause.into());
            }
            lost = Some(cause);
        }
        match committed {
            Ok(()) if lost.is_none() => self.refuse_warned(),
            Ok(()) => Err(Failure::Unknown("a statement was not answered and the commit was".into())),
            Err(cause) if may_have_committed(&cause) => Err(Failure::Unknown(redacted(&cause))),
            Err(cause) => Err(cause.into()),
        }
    }
}

/// A statement of the first round trip with its parameters; `None` when nothing is to be read.
type Read<'s> = Option<(&'s Statement, Vec<Column>)>;

/// The answer to a statement of the first round trip.
type Answer = Result<Vec<Row>, Error>;

macro_rules! first_round_trip {
    ($($field:ident: $kind:path,)*) => {
        /// The statements of the first round trip: each locks and loads rows of one table. They are sent in the order
        /// of the locks. A statement sees what was committed when it began, so whether a hold or a transfer exists is
        /// read only once its account is locked.
        struct Statements {
            $($field: Statement,)*
            transfers: Statement,
        }

        impl Statements {
            async fn prepare(client: &Client) -> Result<Self, Error> {
                Ok(Self {
                    $($field: prepare_lock::<<$kind as Stored>::Record>(client).await?,)*
                    transfers: client.prepare(TRANSFERS_EXIST).await?,
                })
            }

            fn reads(&self, keys: &RowKeys) -> Vec<Read<'_>> {
                let transfers: Vec<String> = keys.transfers.iter().map(|key| key.as_str().to_owned()).collect();
                vec![
                    $((!keys.$field.is_empty()).then(|| (&self.$field, key_columns::<$kind>(&keys.$field))),)*
                    (!transfers.is_empty()).then(|| {
                        let keys: Column = Box::new(transfers);
                        (&self.transfers, vec![keys])
                    }),
                ]
            }
        }

        /// The rows in the answers to [`Statements::reads`].
        fn loaded_rows(mut answers: impl Iterator<Item = Answer>) -> Result<LoadedRows, Failure> {
            let mut next = || answers.next().unwrap_or_else(|| Ok(Vec::new()));
            Ok(LoadedRows {
                $($field: read::<$kind>(&next()?)?,)*
                transfers: next()?.iter().map(transfer_key).collect::<Result<_, _>>()?,
            })
        }
    };
}

for_each_row_kind!(first_round_trip);

/// The columns of these keys, each as an array.
fn key_columns<K: Stored>(keys: &BTreeSet<K::Key>) -> Vec<Column> {
    let mut columns: Vec<Vec<String>> = Vec::new();
    for key in keys {
        for (n, value) in K::key_columns(key).into_iter().enumerate() {
            match columns.get_mut(n) {
                Some(column) => column.push(value),
                None => columns.push(vec![value]),
            }
        }
    }
    columns.into_iter().map(|column| -> Column { Box::new(column) }).collect()
}

fn read<K: Stored<Record: Table>>(rows: &[Row]) -> Result<Vec<K::Row>, Failure> {
    let read = |row| Ok(K::row(K::Record::read(row)?)?);
    rows.iter().map(read).collect()
}

fn transfer_key(row: &Row) -> Result<TransferKey, Error> {
    row.try_get::<_, String>(0).map(TransferKey::new)
}

fn parameters(columns: &[Column]) -> Vec<&(dyn ToSql + Sync)> {
    columns.iter().map(|column| -> &(dyn ToSql + Sync) { column.as_ref() }).collect()
}

/// Sends every statement before it waits for the first answer. A statement is sent when its future is first polled, so
/// they are polled strictly one after the other.
async fn in_order<T>(statements: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut sent: Vec<Pin<Box<MaybeDone<BoxFuture<'_, T>>>>> =
        statements.into_iter().map(|statement| Box::pin(maybe_done(statement))).collect();
    std::future::poll_fn(|context| {
        let mut answered = true;
        for statement in &mut sent {
            answered &= statement.as_mut().poll(context).is_ready();
        }
        if answered { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    sent.iter_mut().filter_map(|statement| statement.as_mut().take_output()).collect()
}
