//! A job on a real llama-server (`just test-llama`).
//!
//! The work runs through the OpenAI-compatible adapter. The evaluation is simulated: the tiny model that the recipe makes
//! has random weights and judges nothing.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{SystemClock, SystemEntropy};
use tithe_engine::inference::{
    ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_engine::jobs::{CreatedJob, JobCursor, JobUpdate, NewJobRequest};
use tithe_engine::records::StoredResponse;
use tithe_engine::{Engine, Ports, Settings};
use tithe_inference::{GuardSettings, Guarded, OpenAiCompatible, OpenAiSettings, SimInference, SimSettings};
use tithe_jobs::{Completion as Done, JobId, JobState};
use tithe_ledger::AccountId;
use tithe_money::BtcPrice;
use tithe_price_feed::FixedPrice;
use tithe_pricing::Catalogue;
use tithe_store_sqlite::{SqliteSettings, SqliteStore};
use tithe_trust::{Secret, Secrets};
use tithe_wallet_sim::SimWallet;

/// A model that is not known to us is counted in bytes, which is never less than its own count.
const TINY: &str = r#"
    as_of = "2026-11-20"
    source = "made up"
    [[model]]
    name = "tiny"
    vendor = "test"
    context_tokens = 4096
    max_output_tokens = 1024
    default_max_output_tokens = 64
    input_usd = "3"
    cached_input_usd = "0.3"
    output_usd = "15"
    tokenizer = "bytes"
"#;

/// The evaluation model here, the work model there.
struct ByModel {
    evaluation: SimInference,
    work: Guarded<OpenAiCompatible>,
}

impl ByModel {
    fn of(&self, request: &ChatRequest) -> &dyn Inference {
        if request.model == "tiny" { &self.work } else { &self.evaluation }
    }
}

#[async_trait]
impl Inference for ByModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.of(request).complete(request).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        self.of(request).stream(request).await
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        self.evaluation.embed(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a llama-server: just test-llama"]
async fn a_job_on_a_real_model_is_charged_exactly_its_priced_usage() {
    let url = std::env::var("TITHE_TEST_LLAMA_URL").expect("TITHE_TEST_LLAMA_URL says where llama-server is");
    let key = std::env::var("TITHE_TEST_LLAMA_KEY").expect("TITHE_TEST_LLAMA_KEY is its key");
    let folder = tempfile::tempdir().unwrap();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let database = format!("sqlite://{}", folder.path().join("tithe.db").display());
    let wallet = Arc::new(SimWallet::open(folder.path(), clock.clone(), entropy.clone()).await.unwrap());
    let backend = OpenAiSettings::new(format!("{url}/v1").parse().unwrap(), Some(key.parse().unwrap()));
    let backend = OpenAiCompatible::new(backend).unwrap();
    let ports = Ports {
        store: Arc::new(SqliteStore::open(&database, SqliteSettings::default()).await.unwrap()),
        wallet: wallet.clone(),
        routes: tithe_engine::inference::Routes::default(),
        inference: Arc::new(ByModel {
            evaluation: SimInference::new(SimSettings::default()),
            work: Guarded::new(backend, GuardSettings::default(), clock.clone(), entropy.clone()),
        }),
        hardware: None,
        prices: Arc::new(FixedPrice::new(BtcPrice::parse("100000").unwrap(), clock.clone())),
        clock,
        entropy,
        addresses: Arc::new(tithe_engine::payouts::NoAddresses),
        webhooks: Arc::new(tithe_engine::sessions::NoWebhooks),
        provisioner: Arc::new(tithe_bootstrap::NoProvisioner),
        catalogue: Arc::new(Catalogue::built_in().overridden_by(Catalogue::parse(TINY).unwrap())),
    };
    let settings = Settings { work_model: "tiny".to_owned(), ..Settings::default() };
    let secrets = Secrets::new(Secret::new([7; 32]).unwrap(), Vec::new());
    let engine = Arc::new(Engine::new(ports, settings, &secrets).unwrap());
    let running = engine.start();

    let render = |created: &CreatedJob| StoredResponse { status: 201, body: created.job.id.to_string() };
    let request = "Tell me of the first people.".to_owned();
    let new = NewJobRequest {
        request,
        model: None,
        max_output_tokens: Some(48),
        payment: tithe_jobs::WorkPayment::Prepaid,
        identity: None,
        signature: tithe_engine::identities::RequestSignature(None),
        origin: None,
    };
    let id: JobId = engine.jobs.create(new, None, &render).await.unwrap().response.body.parse().unwrap();
    let eval = engine.jobs.view(id).await.unwrap().eval_invoice.unwrap().payment_hash;
    engine.payments.pay_for_test(wallet.as_ref(), eval).await.unwrap();

    let mut follower = engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    let mut streamed = String::new();
    let follow = async {
        while let Some((_, update)) = follower.next().await.unwrap() {
            match update {
                JobUpdate::Text(text) => streamed.push_str(&text),
                JobUpdate::Step { change, view } if change.state.as_str() == "awaiting_work_payment" => {
                    let invoice = view.work_invoice.unwrap().payment_hash;
                    engine.payments.pay_for_test(wallet.as_ref(), invoice).await.unwrap();
                }
                JobUpdate::Step { .. } => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), follow).await.expect("the job ends");

    let job = engine.jobs.view(id).await.unwrap().job;
    let JobState::Complete { work, completion: Done { text, usage, settlement, .. }, .. } = &job.state else {
        panic!("{:?}", job.state);
    };
    println!("{usage:?} {settlement:?}\n{text}");
    assert_eq!(**text, *streamed);
    assert!(
        !text.is_empty() && usage.input_tokens > 0 && usage.output_tokens > 0 && usage.output_tokens <= 48
    );
    let price = work.quote.rates.price(usage, &work.quote.terms).unwrap();
    assert_eq!(settlement.price, price);
    assert_eq!(settlement.charged, price.msats, "the charge is exactly the priced usage");
    assert!(settlement.uncollected.is_zero(), "the quote covered it");
    let paid = work.amount.to_msats().get();
    assert_eq!(
        paid,
        settlement.charged.get() + settlement.refund.to_msats().get() + settlement.rounding.get()
    );

    running.stop(Duration::from_secs(5)).await;
    let report = engine.audit().await.unwrap();
    assert_eq!(report.findings, []);
    let balance = |id| report.balances.iter().find(|(account, _)| *account == id).unwrap().1;
    let fee = job.evaluation_fee().to_msats().get();
    let tithe = settlement.charged.get() / 10;
    assert_eq!(balance(AccountId::Revenue), i128::from(fee + settlement.charged.get() - tithe));
    assert_eq!(balance(AccountId::Pool), i128::from(tithe), "nobody has opened the pool");
}
