//! Conformance tests that every store must pass.
//!
//! A store's own tests are one line, which opens a fresh, empty store for each case:
//!
//! ```ignore
//! tithe_store_suite::store_suite!(open_a_fresh_store);
//! ```
//!
//! [`MemoryStore`] is the simplest store that passes: the reference for the others, and what tests of the engine run on.
//! [`model`] drives any store with random commands and compares it with a naive reference.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "this crate is tests: a panic is how they fail"
)]

pub mod cases;
pub mod command;
pub mod installs;
pub mod layered;
mod memory;
pub mod model;
pub mod people;
pub mod scene;

pub use memory::MemoryStore;

/// Runs every case on the stores that `$open` opens: an async function that takes a number of servers and returns a store
/// for each, all on one fresh database, as a `Vec<Arc<dyn tithe_engine::store::Store>>`; and something that is dropped after
/// the test.
#[macro_export]
macro_rules! store_suite {
    ($open:path) => {
        $crate::store_suite!(
            $open, one;
            jobs::a_job_comes_back_as_it_was_written_in_every_state,
            jobs::steps_are_told_in_order_and_from_any_revision,
            jobs::what_does_not_exist_is_none,
            jobs::a_job_that_never_got_an_invoice_is_found,
            jobs::the_jobs_of_an_identity_are_listed_newest_first,
            held_jobs::a_held_payment_is_credited_together_with_the_charge,
            held_jobs::a_held_payment_that_goes_back_moves_no_money,
            held_jobs::jobs_on_hold_are_counted_and_claimed,
            held_jobs::jobs_whose_payment_is_held_are_claimed_first,
            kept_requests::kept_requests_come_back_as_they_were_written,
            kept_requests::the_texts_of_kept_requests_are_deleted_on_request,
            kept_requests::a_held_request_is_charged_when_its_payment_is_credited,
            kept_requests::a_held_request_whose_payment_goes_back_moves_no_money,
            kept_requests::a_kept_request_that_does_not_fit_the_ledger_is_found,
            kept_requests::a_held_payment_that_was_credited_without_its_charge_is_charged_or_can_be_used,
            leases::a_lease_that_ran_out_is_taken_over,
            leases::only_its_holder_renews_or_hands_back_a_lease,
            leases::only_jobs_with_something_to_do_are_claimed,
            ledger::overdue_holds_are_found,
            ledger::a_refused_command_leaves_its_neighbours_alone,
            ledger::a_batch_that_cannot_be_written_leaves_nothing_behind,
            ledger::the_committer_isolates_a_command_that_cannot_be_written,
            ledger::amounts_come_back_to_the_last_msat,
            vocabulary::a_services_own_names_come_back_as_they_were_written,
            vocabulary::a_job_without_an_evaluation_comes_back_as_it_was_written,
            invoices::pages_show_every_pending_invoice_once,
            invoices::only_recent_lapses_are_looked_at,
            keys::an_answer_is_kept_and_replayed,
            keys::old_keys_are_forgotten,
            identities::a_login_is_seen_of_whom_we_know,
            identities::a_jobs_identity_is_made_with_it,
            identities::a_proof_is_used_once_and_never_after_its_time,
            free_tier::every_row_of_the_free_tier_comes_back_as_it_was_written,
            free_tier::what_the_pool_does_not_know_is_none,
            free_tier::overdue_reservations_are_found,
            free_tier::a_batch_of_the_pool_that_cannot_be_written_leaves_nothing_behind,
            free_tier::nobody_touches_the_reservation_of_another,
            free_tier::a_charge_happens_once_whoever_pays_it,
            free_tier::an_identity_has_one_offer_at_a_time,
            free_tier::a_clock_that_is_behind_gives_no_second_day,
            free_tier::a_clock_that_is_ahead_ends_no_day_that_others_are_in,
            retention::the_texts_of_expired_jobs_are_deleted,
            retention::unpaid_jobs_are_deleted_and_paid_ones_stay,
            retention::old_steps_of_jobs_are_deleted,
            retention::identities_without_history_are_deleted,
            texts::the_texts_of_old_work_are_deleted,
            texts::an_expired_job_says_since_when_it_has_no_text,
            texts::one_customers_texts_are_deleted_on_request,
            texts::stored_responses_are_deleted_and_their_keys_stay_used,
            texts::deletions_are_recorded,
            one_request::sessions_of_one_request_come_back_as_they_were_written,
            one_request::a_payment_for_one_request_begins_no_other,
            one_request::the_answer_to_one_request_closes_its_session_and_refunds_the_rest,
            one_request::a_failed_request_leaves_its_payment_to_be_used_or_claimed,
            one_request::a_dead_server_leaves_a_payment_for_one_request_whole,
            one_request::a_call_that_may_have_been_made_ends_its_payment_and_is_not_made_again,
            one_request::a_key_is_not_continued_by_a_call_that_may_have_been_made,
            one_request::too_little_for_one_request_buys_nothing_and_is_refunded,
            one_request::a_late_payment_for_one_request_is_used_or_claimed,
            one_request::failed_tries_do_not_shorten_the_time_of_an_answer,
            deposits::deposits_come_back_as_they_were_written,
            deposits::a_deposit_pays_for_requests_once_it_is_opened,
            deposits::a_deposit_is_moved_once,
            deposits::a_return_invoice_gets_all_that_is_left_at_once,
            deposits::an_expired_deposit_is_refunded_when_it_is_opened,
            sessions::sessions_come_back_as_they_were_written,
            sessions::late_payments_of_sessions_are_credited_or_refunded,
            sessions::owners_are_warned_once_for_each_level,
            sessions::unpaid_sessions_are_deleted_and_paid_ones_stay,
            growth::a_hold_grows_with_all_that_depends_on_it,
            growth::what_has_ended_pays_for_no_more,
            growth::a_request_that_has_grown_is_abandoned_as_a_whole,
            bootstraps::bootstraps_come_back_as_they_were_written,
            bootstraps::payments_of_bootstraps_that_have_ended_are_refunded_and_unpaid_ones_are_deleted,
            payouts::obligations_come_back_as_they_were_written,
            payouts::payouts_come_back_as_they_were_written,
            payouts::obligations_that_can_be_paid_are_found,
            payouts::obligations_of_which_something_is_due_are_listed,
            payouts::payouts_are_listed_and_those_in_flight_are_found,
            payouts::an_account_has_one_payout_in_flight,
            totals::the_ledgers_totals_are_its_sums,
            totals::totals_hold_all_the_money_there_is,
            totals::the_wallets_transfers_are_listed_since_a_time,
            totals::transfers_are_read_by_key_and_by_time,
            measurements::jobs_and_invoices_in_progress_are_measured,
            measurements::what_is_set_aside_is_measured,
            measurements::refunds_and_payouts_in_progress_are_measured,
            measurements::sums_of_transfers_are_read_in_parts,
            payouts::the_steps_of_a_payout_come_back_as_they_were_written,
            payouts::what_becomes_due_while_a_payment_is_in_flight_stays_due,
            payouts::the_address_that_a_session_is_closed_with_comes_back,
            payouts::an_outcome_that_cannot_be_written_leaves_the_payout_in_flight,
            payout_audits::a_payout_paid_without_its_transfers_is_found,
            payout_audits::a_payout_booked_though_it_failed_is_found,
            payout_audits::a_payout_of_another_amount_than_was_booked_is_found,
            payout_audits::an_obligation_of_another_amount_than_was_accrued_is_found,
            payout_audits::a_payout_in_flight_that_its_obligation_does_not_know_is_found,
            payout_audits::a_transfer_of_a_payout_that_does_not_exist_is_found,
            payout_audits::two_payouts_in_flight_are_found,
            credits::installs_and_credits_come_back_as_they_were_written,
            credits::installs_are_listed_in_the_order_of_their_ids,
            credits::overdue_credits_are_found,
            credits::credits_that_no_quota_covers_cannot_be_written,
            credits::origins_are_deleted_when_their_day_is_over,
            credits::credits_that_took_nothing_are_deleted_and_all_others_stay,
            credits::revoked_licences_are_listed_newest_first,
            credits::counters_that_credits_do_not_explain_are_found,
            asks::a_request_that_a_plan_includes_ends_once,
            asks::a_request_that_the_pool_pays_for_ends_once,
            asks::a_request_under_a_key_is_answered_once,
            asks::a_refused_request_leaves_nothing_behind_beside_others,
            asks::a_revoked_licence_is_not_served,
            asks::an_origin_has_so_many_new_installs_a_day,
            imports::ten_thousand_installs_are_imported_at_once_and_once,
            imports::imported_installs_have_nothing_reserved,
            imports::an_import_that_cannot_be_written_leaves_nothing_behind,
            declarations::a_request_of_an_install_that_declares_one_key_too_few_fails_and_changes_nothing,
            declarations::a_command_that_declares_one_key_too_few_fails_and_changes_nothing,
            registry::servers_come_back_as_they_were_written,
            registry::a_server_has_one_record,
            registry::old_records_of_servers_are_deleted,
            audits::a_sound_store_has_no_findings,
            audits::every_row_is_seen_once,
            random::random_commands_of_the_pool_match_the_reference,
            random::random_commands_by_the_designs_rules_match_the_reference,
            random::random_requests_of_installs_match_the_reference,
        );
        $crate::store_suite!(
            $open, two;
            servers::no_job_is_handed_to_two_claims,
            servers::a_payment_reported_64_times_at_once_is_credited_once,
            servers::many_spenders_of_one_account_never_overdraw_it,
            servers::a_hold_ends_once_whoever_ends_it,
            servers::one_of_many_equal_requests_is_done,
            servers::a_charge_asked_of_two_servers_at_once_is_made_and_told_by_both,
            servers::what_two_servers_make_at_once_is_made_once,
            pool::many_charges_of_one_identity_never_pass_its_day,
            pool::many_charges_of_many_identities_never_pass_the_pool,
            pool::many_reservations_of_one_identity_never_pass_its_day,
            pool::many_reservations_of_many_identities_never_pass_the_pool,
            pool::a_auth_nonce_consumed_64_times_at_once_is_used_once,
            pool::two_servers_meet_the_same_stranger_at_once,
            pool_jobs::many_jobs_of_one_identity_never_pass_its_day,
            pool_jobs::many_jobs_of_many_identities_never_pass_the_pool,
            pool_jobs::offers_together_hold_no_more_than_their_share_of_the_pool,
            pool_jobs::servers_whose_clocks_disagree_never_pass_a_day_together,
            one_request::one_proof_at_once_on_two_servers_begins_one_request,
            one_request::a_claim_and_an_answer_at_once_take_one_payment,
            kept_requests::one_server_has_a_kept_request_until_its_lease_is_over,
            deposits::a_deposit_at_once_on_two_servers_has_one_use,
            deposits::a_close_and_a_top_up_at_once_lose_nothing,
            sessions::a_hundred_requests_at_once_begin_exactly_as_often_as_the_balance_covers,
            sessions::a_request_ends_once_whoever_ends_it,
            sessions::a_request_that_is_repeated_under_its_key_is_charged_once,
            sessions::limits_by_period_hold_on_all_servers_until_the_periods_end,
            sessions::random_steps_of_sessions_match_the_reference,
            growth::requests_that_grow_at_once_share_the_balance,
            bootstraps::a_bootstrap_has_one_worker_one_end_and_one_delivery,
            credits::many_requests_of_one_install_never_pass_its_quota,
            ask_servers::a_hundred_requests_at_once_of_an_install_with_ten_left_are_served_ten_times,
            ask_servers::a_request_that_fails_gives_its_credit_back_while_others_want_it,
            ask_servers::what_a_dead_server_has_reserved_is_given_back_once,
            ask_servers::a_request_repeated_under_its_key_takes_one_credit,
            ask_servers::new_installs_of_an_origin_are_counted_exactly,
            imports::overlapping_imports_on_two_servers_add_every_install_once,
            payout_servers::an_obligation_paid_by_64_invoices_at_once_is_paid_by_one,
            payout_servers::an_invoice_for_many_obligations_at_once_is_paid_for_one,
            payout_servers::a_payout_finished_64_times_at_once_is_booked_once,
            payout_servers::servers_that_disagree_on_an_outcome_book_it_once,
            payout_servers::refunds_that_accrue_while_a_payout_ends_stay_due,
            payout_servers::operators_settle_no_more_than_is_due,
            random::random_commands_from_two_servers_at_once_match_the_reference,
            random::random_requests_of_installs_from_two_servers_match_the_reference,
        );
    };
    ($open:path, one; $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let (mut stores, keep) = $open(1).await;
                $crate::cases::$module::$case(stores.remove(0)).await;
                drop(keep);
            }
        )*
    };
    ($open:path, two; $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let (stores, keep) = $open(2).await;
                $crate::cases::$module::$case(stores).await;
                drop(keep);
            }
        )*
    };
}
