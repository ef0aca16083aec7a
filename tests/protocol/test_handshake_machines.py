"""The handshake machines: who gets in, who does not, and what hostile bytes can do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tractor_core.msg.types import PROTOCOL, RUNTIME_CID, Aid, Auth, Bounds, BoxedError, Error, Hello
from tractor_core.protocol.auth import NONCE_SIZE, OneTimeSecrets, Transcript, check_proof, make_proof
from tractor_core.protocol.handshake import (
    JSON,
    MSGPACK,
    Acceptor,
    Dialler,
    FrameCodec,
    HandshakeError,
    Identity,
    Peer,
    refusal,
)
from tractor_core.seams import PeerFacts

KEY = b"k" * 32
OTHER_KEY = b"o" * 32
ME = 1000
NOTHING = PeerFacts()
SAME_USER = PeerFacts(pid=7, uid=ME, same_host=True)
OTHER_USER = PeerFacts(pid=7, uid=ME + 1, same_host=True)

CHILD = Identity(Aid("child", "c" * 32, 11), KEY)
PARENT = Identity(Aid("parent", "p" * 32, 10), KEY)


def nonce(letter: bytes) -> bytes:
    return letter * NONCE_SIZE


def dialler(identity: Identity = CHILD, **changes: Any) -> Dialler:
    options: dict[str, Any] = {"nonce": nonce(b"d"), "facts": NOTHING, "my_uid": ME}
    return Dialler(identity, **(options | changes))


def acceptor(identity: Identity = PARENT, **changes: Any) -> Acceptor:
    options: dict[str, Any] = {
        "nonce": nonce(b"a"),
        "facts": NOTHING,
        "my_uid": ME,
        "spawn_secrets": OneTimeSecrets(),
    }
    return Acceptor(identity, **(options | changes))


def shake(near: Dialler, far: Acceptor) -> tuple[Peer, Peer]:
    """The whole exchange; what the dialler and what the acceptor learnt."""
    far.on_hello(near.hello())
    proof = near.on_hello(far.hello())
    answer, seen_by_far = far.on_auth(proof)
    return near.on_answer(answer), seen_by_far


# -- who gets in ---------------------------------------------------------------------------------


def test_both_sides_with_the_key_learn_who_the_other_is() -> None:
    near, far = dialler(), acceptor()
    at_dialler, at_acceptor = shake(near, far)
    assert at_dialler == Peer(PARENT.aid, "msgpack", "tree", "key", NOTHING)
    assert at_acceptor == Peer(CHILD.aid, "msgpack", "tree", "key", NOTHING)
    assert (at_acceptor.aid.name, at_acceptor.aid.pid) == ("child", 11)
    assert near.done and far.done


def test_kernel_credentials_replace_the_cookie() -> None:
    at_dialler, at_acceptor = shake(
        dialler(replace(CHILD, key=OTHER_KEY), facts=SAME_USER), acceptor(facts=SAME_USER)
    )
    assert at_dialler.method == at_acceptor.method == "peercred"
    assert at_acceptor.facts == SAME_USER


def test_kernel_credentials_do_not_replace_an_explicit_key() -> None:
    explicit = replace(PARENT, key_explicit=True)
    with pytest.raises(HandshakeError, match="explicit auth_key") as caught:
        shake(dialler(facts=SAME_USER), acceptor(explicit, facts=SAME_USER))
    assert caught.value.refused_by == "us"
    # With the same key on both sides, explicit means that it is proved, whatever the kernel says.
    near = dialler(replace(CHILD, key_explicit=True), facts=SAME_USER)
    assert shake(near, acceptor(explicit, facts=SAME_USER))[0].method == "key"


@pytest.mark.parametrize("facts", [NOTHING, OTHER_USER])
def test_the_acceptor_checks_the_kernel_itself(facts: PeerFacts) -> None:
    with pytest.raises(HandshakeError, match="same user"):
        shake(dialler(facts=SAME_USER), acceptor(facts=facts))


@pytest.mark.parametrize("facts", [NOTHING, OTHER_USER])
def test_the_dialler_proves_with_the_key_unless_the_kernel_vouches(facts: PeerFacts) -> None:
    assert dialler(facts=facts).method == "key"


def test_another_user_gets_in_with_the_key() -> None:
    assert shake(dialler(facts=OTHER_USER), acceptor(facts=OTHER_USER))[1].method == "key"


def test_a_spawned_process_proves_itself_until_its_start_is_over() -> None:
    secrets = OneTimeSecrets()
    secret = secrets.issue(CHILD.aid.uuid)
    stranger = replace(CHILD, key=OTHER_KEY)  # the key does not matter, the secret does
    for _ in range(2):  # it may not have got the first answer
        at_dialler, at_acceptor = shake(
            dialler(stranger, method="spawn", secret=secret), acceptor(spawn_secrets=secrets)
        )
        assert at_dialler.method == at_acceptor.method == "spawn"
    secrets.revoke(CHILD.aid.uuid)
    with pytest.raises(HandshakeError, match="does not hold"):
        shake(dialler(stranger, method="spawn", secret=secret), acceptor(spawn_secrets=secrets))


def test_a_bad_attempt_does_not_burn_the_spawn_secret() -> None:
    secrets = OneTimeSecrets()
    secret = secrets.issue(CHILD.aid.uuid)
    with pytest.raises(HandshakeError):
        shake(dialler(method="spawn", secret=b"x" * 32), acceptor(spawn_secrets=secrets))
    # The right secret under another actor's name is no better.
    with pytest.raises(HandshakeError):
        shake(
            dialler(replace(CHILD, aid=Aid("thief", "t" * 32)), method="spawn", secret=secret),
            acceptor(spawn_secrets=secrets),
        )
    assert shake(dialler(method="spawn", secret=secret), acceptor(spawn_secrets=secrets))


def test_the_proof_of_a_spawned_process_is_good_in_its_own_exchange_only() -> None:
    secrets = OneTimeSecrets()
    secret = secrets.issue(CHILD.aid.uuid)
    proofs, hello = [], b""
    for letter in (b"1", b"2"):
        near = dialler(method="spawn", secret=secret)
        far = acceptor(spawn_secrets=secrets, nonce=nonce(letter))
        hello = near.hello()
        far.on_hello(hello)
        proofs.append(near.on_hello(far.hello()))
    for proof in proofs:
        replayed = acceptor(spawn_secrets=secrets, nonce=nonce(b"3"))
        replayed.on_hello(hello)
        replayed.hello()
        with pytest.raises(HandshakeError, match="does not hold"):
            replayed.on_auth(proof)


def test_secrets_are_issued_once_and_can_be_revoked() -> None:
    secrets = OneTimeSecrets()
    secrets.issue("u")
    with pytest.raises(ValueError, match="already has"):
        secrets.issue("u")
    secrets.revoke("u")
    secrets.revoke("u")
    assert secrets.get("u") is None
    secret = secrets.issue("u")
    assert repr(secret) not in repr(secrets)


# -- who does not --------------------------------------------------------------------------------


def test_the_wrong_key_fails_at_the_acceptor_which_tells_the_dialler() -> None:
    near, far = dialler(replace(CHILD, key=OTHER_KEY)), acceptor()
    far.on_hello(near.hello())
    proof = near.on_hello(far.hello())
    with pytest.raises(HandshakeError) as at_acceptor:
        far.on_auth(proof)
    assert at_acceptor.value.refused_by == "us"
    with pytest.raises(HandshakeError, match="the peer refused: the dialler does not hold") as at_dialler:
        near.on_answer(refusal(at_acceptor.value.reason))
    assert at_dialler.value.refused_by == "peer"
    assert not near.done and not far.done


def test_an_acceptor_without_the_key_cannot_pretend() -> None:
    near, far = dialler(), acceptor(replace(PARENT, key=OTHER_KEY))
    far.on_hello(near.hello())
    near.on_hello(far.hello())
    with pytest.raises(HandshakeError, match="acceptor does not hold"):
        near.on_answer(MSGPACK.encode(Auth("key", b"\0" * 32)))
    assert not near.done


def test_the_answer_may_not_use_a_weaker_method() -> None:
    near, far = dialler(), acceptor()
    far.on_hello(near.hello())
    near.on_hello(far.hello())
    with pytest.raises(HandshakeError, match="instead of 'key'"):
        near.on_answer(MSGPACK.encode(Auth("peercred")))


def test_an_unknown_method_is_refused() -> None:
    near, far = dialler(), acceptor()
    far.on_hello(near.hello())
    far.hello()
    with pytest.raises(HandshakeError, match="unknown method 'trust me'"):
        far.on_auth(MSGPACK.encode(Auth("trust me")))


def test_mirroring_the_dialler_fails() -> None:
    near = dialler()
    with pytest.raises(HandshakeError, match="not fresh"):
        near.on_hello(near.hello())


def test_mirroring_the_proof_fails_in_both_directions() -> None:
    # The mirror answers with a Hello of its own making, then with the dialler's own proof.
    near = dialler()
    near.hello()
    own = near.on_hello(MSGPACK.encode(Hello(PARENT.aid, PROTOCOL, ["msgpack"], nonce(b"x"))))
    with pytest.raises(HandshakeError, match="does not hold"):
        near.on_answer(own)
    # And towards an acceptor: first its own Hello, then whatever it has said.
    far = acceptor()
    far.on_hello(MSGPACK.encode(Hello(CHILD.aid, PROTOCOL, ["msgpack"], nonce(b"x"))))
    with pytest.raises(HandshakeError, match="expected Auth, got Hello"):
        far.on_auth(far.hello())


def test_an_acceptors_proof_is_no_diallers_proof() -> None:
    # A second connection cannot use the answer of the first, even with every nonce the same.
    near, far = dialler(), acceptor()
    first = near.hello()
    far.on_hello(first)
    answer, _ = far.on_auth(near.on_hello(far.hello()))
    again = acceptor()
    again.on_hello(first)
    again.hello()
    with pytest.raises(HandshakeError):
        again.on_auth(answer)


def test_a_recorded_exchange_cannot_be_replayed() -> None:
    near, far = dialler(), acceptor()
    hello = near.hello()
    far.on_hello(hello)
    far_hello = far.hello()
    proof = near.on_hello(far_hello)
    answer, _ = far.on_auth(proof)
    later = acceptor(nonce=nonce(b"b"))
    later.on_hello(hello)
    later.hello()
    with pytest.raises(HandshakeError, match="does not hold"):
        later.on_auth(proof)
    caller = dialler(nonce=nonce(b"e"))
    caller.hello()
    caller.on_hello(far_hello)
    with pytest.raises(HandshakeError, match="does not hold"):
        caller.on_answer(answer)


@pytest.mark.parametrize(
    ("hello", "complaint"),
    [
        (Hello(CHILD.aid, "tractor-core/2", ["msgpack"], nonce(b"x")), "protocol 'tractor-core/2' is not"),
        (Hello(CHILD.aid, PROTOCOL, ["cbor"], nonce(b"x")), r"no common codec \(offered"),
        (Hello(CHILD.aid, PROTOCOL, [], nonce(b"x")), "no common codec"),
        (Hello(CHILD.aid, PROTOCOL, ["msgpack"] * 17, nonce(b"x")), "17 codecs"),
        (Hello(CHILD.aid, PROTOCOL, ["msgpack"], b"short"), "nonce of 5 bytes"),
        (Hello(Aid("two\nlines", "u"), PROTOCOL, ["msgpack"], nonce(b"x")), "name is not"),
        (Hello(Aid("n" * 256, "u"), PROTOCOL, ["msgpack"], nonce(b"x")), "name is not"),
        (Hello(Aid("n", ""), PROTOCOL, ["msgpack"], nonce(b"x")), "uuid is not"),
        (Hello(Aid("n", "u", -9), PROTOCOL, ["msgpack"], nonce(b"x")), "pid is negative"),
    ],
)
def test_a_bad_hello_is_refused_by_either_side(hello: Hello, complaint: str) -> None:
    with pytest.raises(HandshakeError, match=complaint) as caught:
        acceptor().on_hello(MSGPACK.encode(hello))
    assert caught.value.refused_by == "us" and not caught.value.foreign
    near = dialler()
    near.hello()
    with pytest.raises(HandshakeError, match=complaint):
        near.on_hello(MSGPACK.encode(hello))


def test_another_actor_at_the_address_is_refused() -> None:
    near, far = dialler(expect_uuid="q" * 32), acceptor()
    far.on_hello(near.hello())
    with pytest.raises(HandshakeError, match=f"actor {'q' * 32} was expected, {'p' * 32} is there"):
        near.on_hello(far.hello())
    assert shake(dialler(expect_uuid="p" * 32), acceptor())


@pytest.mark.parametrize(
    "frame",
    [b"", b"GET / HTTP/1.1\r\n", b"\x00" * 100, b"\x93\x02\xa1\xff\xc4\x00", b"\x91" * 60_000],
)
def test_foreign_bytes_are_told_apart_from_refusals(frame: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        acceptor().on_hello(frame)
    assert caught.value.foreign


def test_other_messages_are_not_decoded_at_all() -> None:
    with pytest.raises(HandshakeError) as caught:
        acceptor().on_hello(b"\x92\x11\x01")  # a Ping
    assert caught.value.foreign


@pytest.mark.parametrize("deep", [5, 5000])
def test_a_nested_error_is_a_refusal_or_foreign(deep: int) -> None:
    head, tail = b"\x98\xa0\xa0\xa0\x90\xa0\x90\xc4\x00\x91", b"\x93\xa0\xa2no\xa0"
    with pytest.raises(HandshakeError) as caught:
        acceptor().on_hello(b"\x93\x0b\xff" + head * deep + tail)
    assert caught.value.foreign == (deep == 5000)


def test_the_peers_words_are_made_fit_for_a_log() -> None:
    boxed = BoxedError("t", "bad\n\x1b[31mFAKE LINE" + "x" * 5000, "t")
    near = dialler()
    near.hello()
    with pytest.raises(HandshakeError) as caught:
        near.on_hello(MSGPACK.encode(Error(RUNTIME_CID, boxed)))
    assert caught.value.refused_by == "peer"
    assert caught.value.reason.isprintable() and len(caught.value.reason) <= 201


def test_a_failed_machine_stays_failed() -> None:
    near, far = dialler(), acceptor()
    hello = near.hello()
    with pytest.raises(HandshakeError):
        far.on_hello(b"nonsense")
    for step in (lambda: far.on_hello(hello), far.hello, lambda: far.on_auth(b"")):
        with pytest.raises(HandshakeError):
            step()
    assert not far.done


def test_a_finished_machine_takes_nothing_more() -> None:
    near, far = dialler(), acceptor()
    hello = near.hello()
    far.on_hello(hello)
    proof = near.on_hello(far.hello())
    far.on_auth(proof)
    with pytest.raises(HandshakeError, match="out of order"):
        far.on_auth(proof)


# -- what is negotiated --------------------------------------------------------------------------


def test_the_codec_is_the_diallers_first_that_the_acceptor_has() -> None:
    near = dialler(replace(CHILD, codecs=("cbor", "json", "msgpack")))
    far = acceptor(replace(PARENT, codecs=("msgpack", "json")))
    assert [peer.codec for peer in shake(near, far)] == ["json", "json"]


def test_the_exchange_works_in_json_too() -> None:
    at_dialler, at_acceptor = shake(dialler(codec=JSON), acceptor(codec=JSON))
    assert (at_dialler.aid, at_acceptor.aid) == (PARENT.aid, CHILD.aid)
    assert at_dialler.codec == "msgpack"


def test_fields_that_a_newer_peer_adds_are_ignored_yet_covered() -> None:
    class NewHello(msgspec.Struct, array_like=True, tag=1):
        aid: Aid
        protocol: str
        codecs: list[str]
        nonce: bytes
        bounds: list[int]
        extra: str

    # A bound more, too: that list grows like a message.
    bounds = [16_384, 65_536, 4_096, 8_192, 7]
    newer = msgspec.msgpack.encode(NewHello(CHILD.aid, PROTOCOL, ["msgpack"], nonce(b"d"), bounds, "more"))
    far = acceptor()
    far.on_hello(newer)
    far_hello = far.hello()
    said = Transcript(PROTOCOL, nonce(b"d"), nonce(b"a"), newer, far_hello)
    answer, peer = far.on_auth(MSGPACK.encode(Auth("key", make_proof(KEY, "dialler", "key", said))))
    assert peer.aid == CHILD.aid
    assert peer.bounds == Bounds(16_384, 65_536, 4_096, 8_192)
    decoded = MSGPACK.decode(answer)
    assert isinstance(decoded, Auth)
    assert check_proof(decoded.mac, KEY, "acceptor", "key", said)


def test_a_peer_that_says_nothing_of_its_bounds_is_taken() -> None:
    class OldHello(msgspec.Struct, array_like=True, tag=1):
        aid: Aid
        protocol: str
        codecs: list[str]
        nonce: bytes

    far = acceptor()
    far.on_hello(older := msgspec.msgpack.encode(OldHello(CHILD.aid, PROTOCOL, ["msgpack"], nonce(b"d"))))
    said = Transcript(PROTOCOL, nonce(b"d"), nonce(b"a"), older, far.hello())
    _, peer = far.on_auth(MSGPACK.encode(Auth("key", make_proof(KEY, "dialler", "key", said))))
    assert peer.bounds == Bounds()


@pytest.mark.parametrize("bounds", [Bounds(4095), Bounds(0, 1), Bounds(0, 0, 2**53), Bounds(-1)])
def test_bounds_that_make_no_sense_are_refused(bounds: Bounds) -> None:
    with pytest.raises(HandshakeError, match="a bound of"):
        acceptor().on_hello(MSGPACK.encode(Hello(CHILD.aid, PROTOCOL, ["msgpack"], nonce(b"d"), bounds)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: replace(CHILD, key=b"short"),
        lambda: replace(CHILD, aid=Aid("", "u")),
        lambda: replace(CHILD, codecs=()),
        lambda: dialler(method="spawn", secret=b"short"),
        lambda: dialler(nonce=b"short"),
    ],
)
def test_misuse_is_a_value_error(make: Any) -> None:
    with pytest.raises(ValueError):
        make()


def test_secrets_stay_out_of_reprs() -> None:
    assert KEY.decode() not in repr(CHILD)


def test_every_part_of_the_transcript_counts() -> None:
    said = Transcript(PROTOCOL, nonce(b"d"), nonce(b"a"), b"hello d", b"hello a")
    proofs = {make_proof(KEY, "dialler", "key", said)}
    proofs.add(make_proof(OTHER_KEY, "dialler", "key", said))
    proofs.add(make_proof(KEY, "acceptor", "key", said))
    proofs.add(make_proof(KEY, "dialler", "spawn", said))
    for change in (
        {"protocol": "x"},
        {"dialler_nonce": nonce(b"x")},
        {"acceptor_nonce": nonce(b"x")},
        {"dialler_hello": b"x"},
        {"dialler_hello": b"hello dh", "acceptor_hello": b"ello a"},
        {"acceptor_hello": b"x"},
    ):
        proofs.add(make_proof(KEY, "dialler", "key", replace(said, **change)))
    assert len(proofs) == 10


# -- any bytes whatever --------------------------------------------------------------------------

METHODS = st.sampled_from(["key", "spawn"])


@st.composite
def damage(draw: st.DrawFn) -> Any:
    """A function that changes one frame: flips a bit, cuts it short, or appends to it."""
    kind = draw(st.sampled_from(["flip", "cut", "append", "replace"]))
    place = draw(st.integers(0, 10_000))
    tail = draw(st.binary(min_size=1, max_size=40))
    bit = draw(st.integers(0, 7))

    def change(frame: bytes) -> bytes:
        if kind == "flip":
            index = place % len(frame)
            return frame[:index] + bytes([frame[index] ^ (1 << bit)]) + frame[index + 1 :]
        if kind == "cut":
            return frame[: place % len(frame)]
        return frame + tail if kind == "append" else tail

    return change


@pytest.mark.parametrize("at", range(4))
def test_every_single_bit_of_every_frame_counts(at: int) -> None:
    position = 0
    while True:
        near, far = dialler(), acceptor()

        def wire(index: int, frame: bytes, position: int = position) -> bytes:
            if index != at:
                return frame
            changed = bytearray(frame)
            changed[position // 8] ^= 1 << position % 8
            return bytes(changed)

        try:
            far.on_hello(wire(0, near.hello()))
            proof = near.on_hello(wire(1, far.hello()))
            answer, _ = far.on_auth(wire(2, proof))
            near.on_answer(wire(3, answer))
        except HandshakeError:
            position += 1
        except IndexError:
            break  # past the end of the frame: every bit has been tried
        else:
            pytest.fail(f"bit {position} of frame {at} does not matter")
    assert position > 8 * 32


@given(at=st.integers(0, 3), change=damage(), method=METHODS)
def test_any_damage_to_any_frame_ends_the_handshake(at: int, change: Any, method: Any) -> None:
    secrets = OneTimeSecrets()
    secret = secrets.issue(CHILD.aid.uuid)
    proving: dict[str, Any] = {"method": "spawn", "secret": secret} if method == "spawn" else {}
    near, far = dialler(**proving), acceptor(spawn_secrets=secrets)
    wire = [change if position == at else bytes for position in range(4)]
    with pytest.raises(HandshakeError):
        far.on_hello(wire[0](near.hello()))
        proof = near.on_hello(wire[1](far.hello()))
        answer, _ = far.on_auth(wire[2](proof))
        near.on_answer(wire[3](answer))
    # The side that received the damaged frame, or the next proof, has not let anybody in.
    assert not (near.done and far.done)
    assert not near.done
    assert far.done == (at == 3)


@given(frames=st.lists(st.one_of(st.integers(0, 7), st.binary(max_size=200)), max_size=8))
def test_recorded_frames_in_any_order_let_nobody_in(frames: list[int | bytes]) -> None:
    """An attacker with the recordings of two exchanges, and bytes of its own, against fresh machines."""
    recorded: list[bytes] = []
    for letters in ((b"1", b"2"), (b"3", b"4")):
        near, far = dialler(nonce=nonce(letters[0])), acceptor(nonce=nonce(letters[1]))
        first = near.hello()
        far.on_hello(first)
        second = far.hello()
        third = near.on_hello(second)
        recorded += [first, second, third, far.on_auth(third)[0]]
    near, far = dialler(), acceptor()
    near.hello()

    def greet(frame: bytes) -> None:
        far.on_hello(frame)
        far.hello()

    steps: dict[str, list[Any]] = {"near": [near.on_hello, near.on_answer], "far": [greet, far.on_auth]}
    for side in steps.values():
        for frame, step in zip(frames, side, strict=False):
            try:
                step(recorded[frame] if isinstance(frame, int) else frame)
            except HandshakeError:
                break
    assert not near.done and not far.done


@given(data=st.binary(max_size=500), codec=st.sampled_from([MSGPACK, JSON]))
def test_decoding_raises_nothing_but_handshake_error(data: bytes, codec: FrameCodec) -> None:
    try:
        assert isinstance(codec.decode(data), (Hello, Auth, Error))
    except HandshakeError as error:
        assert error.foreign
