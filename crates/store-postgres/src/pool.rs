//! Running named transactions on the pool's connections.

use crate::failure::Failure;
use crate::store::PostgresStore;
use diesel_async::pooled_connection::bb8::PooledConnection;
use diesel_async::{AnsiTransactionManager, AsyncConnection, AsyncPgConnection, TransactionManager};
use futures_util::future::BoxFuture;
use tithe_engine::store::StoreError;
use tokio::time::error::Elapsed;

/// What runs on a connection. It may run more than once.
pub(crate) type Work<'a, T> = BoxFuture<'a, Result<T, Failure>>;

impl PostgresStore {
    pub(crate) async fn pooled(&self) -> Result<PooledConnection<'_, AsyncPgConnection>, Failure> {
        self.pool.get().await.map_err(|cause| self.last_failure.behind(&cause))
    }

    /// Runs an attempt for at most as long as the database itself lets a statement run, and a little longer: one that does not even
    /// say so is frozen, or its network is.
    async fn in_time<T>(
        &self,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, Failure>, Elapsed> {
        tokio::time::timeout(self.connector.settings.answer_deadline(), attempt).await
    }

    /// Runs one statement, or several that need not see the same moment.
    pub(crate) async fn statement<T: Send>(
        &self,
        name: &'static str,
        work: impl for<'a> Fn(&'a mut AsyncPgConnection) -> Work<'a, T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let attempt = || async {
            let mut connection = self.pooled().await?;
            let in_time = self.in_time(work(&mut connection)).await;
            in_time.unwrap_or_else(|late| Err(discard(&mut connection, late)))
        };
        self.transactions.run(name, attempt).await
    }

    /// Runs `work` in a transaction. If its future is dropped, the pool drops the connection with what was begun on it.
    pub(crate) async fn transaction<T: Send>(
        &self,
        name: &'static str,
        work: impl for<'a> Fn(&'a mut AsyncPgConnection) -> Work<'a, T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let attempt = || async {
            let mut connection = self.pooled().await?;
            let attempt = connection.transaction(async |connection| work(connection).await);
            let in_time = self.in_time(attempt).await;
            in_time.unwrap_or_else(|late| Err(discard(&mut connection, late)))
        };
        self.transactions.run(name, attempt).await
    }
}

/// Makes the pool drop a connection that does not answer: whoever got it next would wait behind what it still does.
fn discard(connection: &mut AsyncPgConnection, late: Elapsed) -> Failure {
    AnsiTransactionManager::transaction_manager_status_mut(connection).set_in_error();
    Failure::Unavailable(late.into())
}
