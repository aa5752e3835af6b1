//! The connection that writes batches.
//!
//! A batch takes two flights: `BEGIN` with everything that locks and loads; then everything that writes, with `COMMIT`. In a
//! flight the statements are sent one after the other without waiting for answers, so that a batch costs two round trips
//! however many kinds of rows it touches. Its statements are prepared before it: preparing one in the middle of a flight
//! would let the next overtake it.
//!
//! What locks and loads is one statement for each table, in the order of the locks. What writes is one statement for all
//! (`parts.rs`), prepared when the first batch of its shape comes.
//!
//! A flight in which anything fails leaves nothing: PostgreSQL answers `COMMIT` in a failed transaction with a rollback. If
//! the connection is lost before the answer to `COMMIT`, the batch may have been written or not. Each batch therefore also
//! writes its number into this server's row of `committers`, and that row tells. Before it is believed the number is put
//! beyond the lost batch's: that waits for a transaction that is still open, and one whose statements arrive even later is
//! refused by the table.

use crate::connect::{Connector, Purpose};
use crate::failure::{Failure, may_have_committed, told};
use crate::parts::{Parts, parts};
use crate::steps::Origin;
use crate::table::{Column, Table, prepare_lock};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::{FutureExt, TryFutureExt};
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tithe_engine::commands::{Batch, LockKeys};
use tithe_engine::store::{Changes, Committed, Decided, Loaded, StoreError};
use tithe_ledger::TransferKey;
use tithe_store_sql::rows::{
    AccountRow, HoldRow, IdempotencyRow, IdentityRow, InvoiceRow, JobRow, POOL_TALLY, ProofRow,
    ReservationRow, TallyRow, proof_column,
};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

const TRANSFERS_KNOWN: &str = "SELECT key FROM unnest($1::text[]) AS given (key) JOIN transfers USING (key)";

/// Makes this server's row before its first batch: a row that is not there cannot be waited for.
const ENROL: &str = "\
    INSERT INTO committers (id, batch) VALUES ($1, 0) \
    ON CONFLICT (id) DO UPDATE SET seen_at = now()";

/// Makes sure that a batch that is not committed never will be.
const FENCE: &str = "\
    INSERT INTO committers (id, batch) VALUES ($1, $2::bigint + 1) \
    ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, seen_at = now() WHERE committers.batch < $2::bigint";

const LAST_MARK: &str = "SELECT batch FROM committers WHERE id = $1";

/// A server that has written nothing for so long will not ask what it has written.
const FORGET: &str = "DELETE FROM committers WHERE id <> $1 AND seen_at < now() - interval '30 days'";

/// Writes batches, one at a time.
pub(crate) struct Writer {
    connector: Arc<Connector>,
    link: Option<Link>,
    /// This server's name in `committers` and in what it tells others. The database makes it up.
    origin: Origin,
    /// The number of the last batch that was tried.
    batch: i64,
    /// A batch whose outcome is not known yet.
    doubt: Option<Doubt>,
}

/// A connection with its statements.
struct Link {
    client: Client,
    statements: Statements,
    /// The statements of the second flight, by shape.
    shapes: HashMap<u64, Statement>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The statements of the first flight.
struct Statements {
    accounts: Statement,
    identities: Statement,
    jobs: Statement,
    invoices: Statement,
    idempotency: Statement,
    proofs: Statement,
    tally: Statement,
    holds: Statement,
    reservations: Statement,
    transfers_known: Statement,
}

/// A batch that may have been committed.
struct Doubt {
    number: i64,
    committed: Committed,
}

/// What was there when a batch was loaded: the rest of what it writes is new.
#[derive(Default)]
pub(crate) struct Present {
    pub(crate) accounts: HashSet<(String,)>,
    pub(crate) holds: HashSet<(String,)>,
    pub(crate) jobs: HashSet<(String,)>,
    pub(crate) invoices: HashSet<(String,)>,
    pub(crate) idempotency: HashSet<(String, String)>,
    pub(crate) identities: HashSet<(String,)>,
    pub(crate) proofs: HashSet<(String,)>,
    pub(crate) reservations: HashSet<(String,)>,
    pub(crate) tally: HashSet<(String,)>,
}

/// How many shapes a connection remembers. There are a few dozen in practice.
const SHAPES_MAX: usize = 256;

impl Writer {
    pub(crate) fn new(connector: Arc<Connector>, origin: Origin) -> Self {
        Self { connector, link: None, origin, batch: 0, doubt: None }
    }

    /// Tries a batch once. After [`Failure::Unknown`], the next try first finds out what became of this one.
    pub(crate) async fn attempt(&mut self, batch: &Batch) -> Result<Committed, Failure> {
        // Taken out, so that a flight that is cut short for whatever reason takes its connection with it.
        let patience = self.connector.settings.statement_timeout + Duration::from_secs(5);
        let mut link = match self.link.take() {
            Some(link) if !link.client.is_closed() => link,
            _ => in_time(patience, Link::open(&self.connector, &self.origin))
                .await
                .map_err(Failure::connecting)?,
        };
        if let Some(doubt) = &self.doubt {
            let committed = in_time(patience, link.has_committed(&self.origin, doubt.number)).await?;
            // The number after it is spent on keeping it from being committed later.
            self.batch += 1;
            let doubt = self.doubt.take();
            if let Some(doubt) = doubt.filter(|_| committed) {
                self.link = Some(link);
                return Ok(doubt.committed);
            }
        }
        let (loaded, present) = match in_time(patience, link.load(batch.keys())).await {
            Ok(loaded) => loaded,
            Err(failure) => {
                self.keep(link, patience).await;
                return Err(failure);
            }
        };
        let Decided { outcomes, changes } = batch.decide(loaded);
        if changes == Changes::default() {
            // Nothing to write: whatever becomes of the transaction, this is the answer.
            self.keep(link, patience).await;
            return Ok(Committed { outcomes, job_changes: Vec::new() });
        }
        self.batch += 1;
        let committed = Committed { outcomes, job_changes: changes.job_changes.clone() };
        let parts = parts(&changes, &present, &self.origin, self.batch)?;
        let statement = match in_time(patience, link.statement_for(&parts)).await {
            Ok(statement) => statement,
            Err(failure) => {
                self.keep(link, patience).await;
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
                    self.doubt = Some(Doubt { number: self.batch, committed });
                } else {
                    self.keep(link, patience).await;
                }
                Err(failure)
            }
        }
    }

    /// Stops asking what became of the last batch; says whether that is still unknown. The number after it may have been
    /// spent on that.
    pub(crate) fn give_up(&mut self) -> bool {
        let in_doubt = self.doubt.take().is_some();
        self.batch += i64::from(in_doubt);
        in_doubt
    }

    /// Ends the transaction and keeps the connection, if it still works.
    async fn keep(&mut self, link: Link, patience: Duration) {
        let ended = tokio::time::timeout(patience, link.client.batch_execute("ROLLBACK")).await;
        if matches!(ended, Ok(Ok(()))) {
            self.link = Some(link);
        }
    }
}

async fn in_time<T>(
    patience: Duration,
    flight: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(patience, flight).await.unwrap_or_else(|late| Err(Failure::Away(late.into())))
}

impl Link {
    async fn open(connector: &Connector, origin: &Origin) -> Result<Self, Failure> {
        let (client, connection) = connector.client().await?;
        let driver = tokio::spawn(async move {
            // Its failure is every statement's failure too.
            let _told_elsewhere = connection.await;
        });
        client.batch_execute(&connector.session(Purpose::Batches)).await?;
        client.execute(FORGET, &[&origin.as_str()]).await?;
        client.execute(ENROL, &[&origin.as_str()]).await?;
        let statements = Statements::prepare(&client).await?;
        Ok(Self { client, statements, shapes: HashMap::new(), driver })
    }

    /// Whether this server's batch of that number was committed. If not, it never will be.
    async fn has_committed(&self, origin: &Origin, number: i64) -> Result<bool, Failure> {
        self.client.execute(FENCE, &[&origin.as_str(), &number]).await?;
        let last: i64 = self.client.query_one(LAST_MARK, &[&origin.as_str()]).await?.try_get(0)?;
        Ok(last == number)
    }

    /// The first flight. What guards is locked before what it guards is looked at: each statement sees what was committed
    /// when it began, so whether a hold or a transfer exists is known only once its account is ours.
    async fn load(&self, keys: &LockKeys) -> Result<(Loaded, Present), Failure> {
        let s = &self.statements;
        let texts = |keys: &mut dyn Iterator<Item = String>| -> Column { Box::new(keys.collect::<Vec<_>>()) };
        let wanted = [
            (
                &s.identities,
                keys.identities.len(),
                vec![texts(&mut keys.identities.iter().map(ToString::to_string))],
            ),
            (&s.jobs, keys.jobs.len(), vec![texts(&mut keys.jobs.iter().map(ToString::to_string))]),
            (
                &s.invoices,
                keys.invoices.len(),
                vec![texts(&mut keys.invoices.iter().map(ToString::to_string))],
            ),
            (
                &s.idempotency,
                keys.idempotency.len(),
                vec![
                    texts(&mut keys.idempotency.iter().map(|id| id.scope.clone())),
                    texts(&mut keys.idempotency.iter().map(|id| id.key.clone())),
                ],
            ),
            (&s.proofs, keys.proofs.len(), vec![texts(&mut keys.proofs.iter().map(proof_column))]),
            // The pool, which all share, is the last of them.
            (
                &s.accounts,
                keys.accounts.len(),
                vec![texts(&mut keys.accounts.iter().map(ToString::to_string))],
            ),
            (&s.tally, usize::from(keys.tally), vec![texts(&mut std::iter::once(POOL_TALLY.to_owned()))]),
            (&s.holds, keys.holds.len(), vec![texts(&mut keys.holds.iter().map(ToString::to_string))]),
            (
                &s.reservations,
                keys.reservations.len(),
                vec![texts(&mut keys.reservations.iter().map(ToString::to_string))],
            ),
            (
                &s.transfers_known,
                keys.transfers.len(),
                vec![texts(&mut keys.transfers.iter().map(|key| key.as_str().to_owned()))],
            ),
        ];
        let begin = self.client.batch_execute("BEGIN").map_ok(|()| Vec::new()).boxed();
        let loads = wanted.iter().map(|(statement, rows, columns)| {
            if *rows == 0 {
                std::future::ready(Ok(Vec::new())).boxed()
            } else {
                self.query(statement, columns)
            }
        });
        let answers = in_order(std::iter::once(begin).chain(loads).collect()).await;
        let answers: Vec<Vec<Row>> = answers.into_iter().collect::<Result<_, _>>()?;
        let Ok(
            [
                _,
                identities,
                jobs,
                invoices,
                idempotency,
                proofs,
                accounts,
                tally,
                holds,
                reservations,
                transfers,
            ],
        ) = <[Vec<Row>; 11]>::try_from(answers)
        else {
            return Err(Failure::Refused("a flight has as many answers as statements".into()));
        };
        let (mut loaded, mut present) = (Loaded::default(), Present::default());
        (loaded.accounts, present.accounts) = read::<AccountRow, _>(&accounts)?;
        (loaded.jobs, present.jobs) = read::<JobRow, _>(&jobs)?;
        (loaded.invoices, present.invoices) = read::<InvoiceRow, _>(&invoices)?;
        (loaded.idempotency, present.idempotency) = read::<IdempotencyRow, _>(&idempotency)?;
        (loaded.holds, present.holds) = read::<HoldRow, _>(&holds)?;
        (loaded.identities, present.identities) = read::<IdentityRow, _>(&identities)?;
        (loaded.proofs, present.proofs) = read::<ProofRow, _>(&proofs)?;
        (loaded.reservations, present.reservations) = read::<ReservationRow, _>(&reservations)?;
        let (tally, there) = read::<TallyRow, _>(&tally)?;
        (loaded.tally, present.tally) = (tally.into_iter().next(), there);
        for row in transfers {
            loaded.transfers.insert(TransferKey::new(row.try_get::<_, String>(0)?));
        }
        Ok((loaded, present))
    }

    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        columns: &'a [Column],
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        async move { self.client.query(statement, &parameters(columns)).await }.boxed()
    }

    /// The statement that writes batches of this shape.
    async fn statement_for(&mut self, parts: &Parts) -> Result<Statement, Failure> {
        if let Some(statement) = self.shapes.get(&parts.shape()) {
            return Ok(statement.clone());
        }
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.clear();
        }
        let statement = self.client.prepare(&parts.sql()).await?;
        self.shapes.insert(parts.shape(), statement.clone());
        Ok(statement)
    }

    /// The second flight.
    async fn commit(&self, statement: &Statement, parts: &Parts) -> Result<(), Failure> {
        let parameters = parts.parameters();
        let write = async { self.client.execute(statement, &parameters).await.map(drop) }.boxed();
        let commit = self.client.batch_execute("COMMIT").boxed();
        let mut answers = in_order(vec![write, commit]).await;
        let committed = answers.pop().unwrap_or(Ok(()));
        // A statement that was refused has undone everything, whatever became of the rest.
        let mut lost = None;
        for cause in answers.into_iter().filter_map(Result::err) {
            if cause.code().is_some() {
                return Err(cause.into());
            }
            lost = Some(cause);
        }
        match committed {
            Ok(()) if lost.is_none() => Ok(()),
            Ok(()) => Err(Failure::Unknown("a statement was not answered and the commit was".into())),
            Err(cause) if may_have_committed(&cause) => Err(Failure::Unknown(told(&cause))),
            Err(cause) => Err(cause.into()),
        }
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            accounts: prepare_lock::<AccountRow>(client).await?,
            identities: prepare_lock::<IdentityRow>(client).await?,
            jobs: prepare_lock::<JobRow>(client).await?,
            invoices: prepare_lock::<InvoiceRow>(client).await?,
            idempotency: prepare_lock::<IdempotencyRow>(client).await?,
            proofs: prepare_lock::<ProofRow>(client).await?,
            tally: prepare_lock::<TallyRow>(client).await?,
            holds: prepare_lock::<HoldRow>(client).await?,
            reservations: prepare_lock::<ReservationRow>(client).await?,
            transfers_known: client.prepare(TRANSFERS_KNOWN).await?,
        })
    }
}

/// Rows as the domain knows them, and the keys of those that there are.
fn read<T, D>(rows: &[Row]) -> Result<(Vec<D>, HashSet<T::Key>), Failure>
where
    T: Table,
    D: TryFrom<T, Error = StoreError>,
{
    let mut present = HashSet::with_capacity(rows.len());
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let row = T::read(row)?;
        present.insert(row.key());
        read.push(row.try_into()?);
    }
    Ok((read, present))
}

fn parameters(columns: &[Column]) -> Vec<&(dyn ToSql + Sync)> {
    columns.iter().map(|column| -> &(dyn ToSql + Sync) { column.as_ref() }).collect()
}

/// Sends every statement before it waits for the first answer. A statement is sent when its future is first polled, so they
/// are polled strictly one after the other.
async fn in_order<T>(flight: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut flight: Vec<Pin<Box<MaybeDone<BoxFuture<'_, T>>>>> =
        flight.into_iter().map(|statement| Box::pin(maybe_done(statement))).collect();
    std::future::poll_fn(|context| {
        let mut answered = true;
        for statement in &mut flight {
            answered &= statement.as_mut().poll(context).is_ready();
        }
        if answered { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    flight.iter_mut().filter_map(|statement| statement.as_mut().take_output()).collect()
}
