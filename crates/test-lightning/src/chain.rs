//! A regtest chain in memory.
//!
//! Headers, proof of work, Merkle roots and witness commitments are real, so that nodes accept the blocks. Scripts and
//! double spends are not checked: the only transactions are those of our own nodes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bitcoin::absolute::LockTime;
use bitcoin::blockdata::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::{OP_PUSHNUM_1, OP_RETURN};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::chain::{BestBlock, Listen};
use tithe_clock::{Clock, SystemClock};

/// The reward of a block.
const REWARD: Amount = Amount::from_int_btc(50);

/// The confirmations that a coinbase needs before it can be spent.
const MATURITY: usize = 100;

/// The coins that are spendable when the chain starts, each the reward of one block.
const COINS: usize = 8;

/// How far block times lag behind the clock at first: each of many blocks is a second later than the one before.
const LAG_SECONDS: i64 = 3_600;

/// BIP 141: a commitment is a 36-byte push that begins with these.
const COMMITMENT_HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];

/// Whoever processes the blocks.
pub(crate) type Listener = Weak<dyn Listen + Send + Sync>;

/// A regtest chain in memory, which grows by [`Chain::mine`] only.
pub struct Chain {
    state: Mutex<State>,
    /// Held while a block is announced, so that blocks are announced in their order.
    listeners: Mutex<Vec<Listener>>,
}

struct State {
    blocks: Vec<Block>,
    mempool: Vec<Transaction>,
    /// The height of the block whose reward is spent next.
    next_coin: usize,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("height", &self.tip().height).finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain with a few spendable coins.
    #[must_use]
    pub fn start() -> Arc<Self> {
        let state =
            State { blocks: vec![genesis_block(Network::Regtest)], mempool: Vec::new(), next_coin: 1 };
        let chain = Self { state: Mutex::new(state), listeners: Mutex::default() };
        chain.mine(MATURITY + COINS);
        Arc::new(chain)
    }

    /// The last block.
    #[must_use]
    pub fn tip(&self) -> BestBlock {
        let state = self.state();
        let hash = state.blocks.last().map(Block::block_hash);
        BestBlock::new(hash.unwrap_or_else(bitcoin::BlockHash::all_zeros), height_of(state.blocks.len()))
    }

    /// Mines blocks; the first one takes in the whole mempool. Returns once every node has processed them.
    pub fn mine(&self, blocks: usize) {
        for _ in 0..blocks {
            let mut listeners = lock(&self.listeners);
            let (block, height) = self.state().grow();
            listeners.retain(|listener| listener.strong_count() > 0);
            for listener in listeners.iter().filter_map(Weak::upgrade) {
                listener.block_connected(&block, height);
            }
        }
    }

    /// Whether the transaction waits in the mempool.
    #[must_use]
    pub fn mempool_has(&self, id: Txid) -> bool {
        self.state().mempool.iter().any(|waiting| waiting.compute_txid() == id)
    }

    /// A signed transaction with one output, paid from a coin that nobody else spends.
    pub(crate) fn fund(&self, script: ScriptBuf, value: Amount) -> Transaction {
        let mut state = self.state();
        let coinbase = state.blocks.get(state.next_coin).and_then(|block| block.txdata.first());
        let coin = coinbase.map_or_else(OutPoint::null, |coinbase| OutPoint::new(coinbase.compute_txid(), 0));
        state.next_coin += 1;
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: coin,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[anyone_can_spend().as_bytes()]),
            }],
            output: vec![TxOut { value, script_pubkey: script }],
        }
    }

    /// Announces all blocks after the given one to the new listeners, as long as they live.
    pub(crate) fn listen<T>(&self, listeners: impl FnOnce(BestBlock) -> (T, Vec<Listener>)) -> T {
        let mut all = lock(&self.listeners);
        let (made, listeners) = listeners(self.tip());
        all.extend(listeners);
        made
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn grow(&mut self) -> (Block, u32) {
        let height = height_of(self.blocks.len() + 1);
        let mut transactions = vec![coinbase(height)];
        transactions.append(&mut self.mempool);
        let block = next_block(self.blocks.last(), transactions);
        self.blocks.push(block.clone());
        (block, height)
    }

    fn knows(&self, id: Txid) -> bool {
        let mined = self.blocks.iter().flat_map(|block| &block.txdata);
        self.mempool.iter().chain(mined).any(|known| known.compute_txid() == id)
    }
}

impl BroadcasterInterface for Chain {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        let mut state = self.state();
        for transaction in transactions {
            if !state.knows(transaction.compute_txid()) {
                state.mempool.push((*transaction).clone());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The height of the last of this many blocks.
fn height_of(blocks: usize) -> u32 {
    u32::try_from(blocks.saturating_sub(1)).unwrap_or(u32::MAX)
}

fn anyone_can_spend() -> ScriptBuf {
    Builder::new().push_opcode(OP_PUSHNUM_1).into_script()
}

fn coinbase(height: u32) -> Transaction {
    let script = Builder::new().push_int(i64::from(height)).push_int(0).into_script();
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: script,
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![TxOut { value: REWARD, script_pubkey: anyone_can_spend().to_p2wsh() }],
    }
}

fn next_block(previous: Option<&Block>, transactions: Vec<Transaction>) -> Block {
    let mut header = previous.map_or_else(|| genesis_block(Network::Regtest).header, |block| block.header);
    header.prev_blockhash = header.block_hash();
    header.version = bitcoin::block::Version::NO_SOFT_FORK_SIGNALLING;
    // Later than the block before it, as the protocol wants, and never in the future.
    let earliest = SystemClock.now().unix_seconds() - LAG_SECONDS;
    header.time = header.time.saturating_add(1).max(u32::try_from(earliest).unwrap_or(u32::MAX));
    let mut block = Block { header, txdata: transactions };
    commit_to_witnesses(&mut block);
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    let target = block.header.target();
    while block.header.validate_pow(target).is_err() {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

/// Adds the output of BIP 141 to the coinbase.
fn commit_to_witnesses(block: &mut Block) {
    let Some(root) = block.witness_root() else { return };
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut data = PushBytesBuf::from(COMMITMENT_HEADER);
    if data.extend_from_slice(commitment.as_byte_array()).is_err() {
        return;
    }
    let script = Builder::new().push_opcode(OP_RETURN).push_slice(data).into_script();
    if let Some(coinbase) = block.txdata.first_mut() {
        coinbase.output.push(TxOut { value: Amount::ZERO, script_pubkey: script });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_real_and_take_in_what_was_broadcast() {
        let chain = Chain::start();
        let before = chain.tip();
        let payment = chain.fund(anyone_can_spend().to_p2wsh(), Amount::from_sat(1_000));
        chain.broadcast_transactions(&[&payment, &payment]);
        assert!(chain.mempool_has(payment.compute_txid()));
        chain.mine(1);
        assert!(!chain.mempool_has(payment.compute_txid()));
        assert_eq!(chain.tip().height, before.height + 1);

        let state = chain.state();
        let block = state.blocks.last().unwrap();
        assert_eq!(block.header.prev_blockhash, before.block_hash);
        assert_eq!(block.txdata.len(), 2);
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert!(block.header.validate_pow(block.header.target()).is_ok());
        assert_eq!(block.bip34_block_height(), Ok(u64::from(chain_height(&state))));
    }

    fn chain_height(state: &State) -> u32 {
        height_of(state.blocks.len())
    }

    #[test]
    fn every_funding_spends_a_coin_of_its_own() {
        let chain = Chain::start();
        let script = anyone_can_spend().to_p2wsh();
        let (one, other) = (chain.fund(script.clone(), REWARD), chain.fund(script, REWARD));
        assert_ne!(one.input[0].previous_output, other.input[0].previous_output);
    }
}
