"""The data sets: found, checked, downloaded, derived and parsed; the real ones where ``ATN_DATA_DIR`` has them."""

import gzip
import hashlib
import http.server
import itertools
import logging
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pooch
import pytest

from experiments.common.errors import ExperimentError
from experiments.datasets import penn, wikitext
from experiments.datasets.generated import generated_images, generated_tokens
from experiments.datasets.mnist import MNIST, ImageFiles, parse_idx, read_images
from experiments.datasets.penn import as_characters, read_characters
from experiments.datasets.sources import DATA_DIR, DataFile, obtain
from experiments.datasets.text import Corpus, Vocabulary, columns, corpus_of, tokens
from experiments.tasks import char_ptb, wikitext2
from experiments.tasks.language import LanguageSettings
from experiments.tasks.text_windows import Windows

TEXT = b" the cat sat \n on <unk> mats \n"


def described(content: bytes, *urls: str, name: str = "words.txt") -> DataFile:
    """Description of a file with this content."""
    return DataFile("set", name, hashlib.sha256(content).hexdigest(), urls)


def put(folder: Path, name: str, content: bytes) -> Path:
    """File below the folder of the data sets."""
    path = folder / "set" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def _no_folder_named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made-up files are not looked for among the real ones, nor in the user's cache."""
    if "data" not in request.keywords:
        monkeypatch.delenv(DATA_DIR, raising=False)
        monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)


class TestFolder:
    """A folder that is given is read, checked, and never written to."""

    def test_a_plain_file_is_read(self, tmp_path: Path) -> None:
        put(tmp_path, "words.txt", TEXT)
        assert obtain(described(TEXT), tmp_path) == TEXT

    def test_a_compressed_file_is_read_and_its_content_checked(self, tmp_path: Path) -> None:
        put(tmp_path, "words.txt.gz", gzip.compress(TEXT))
        assert obtain(described(TEXT), tmp_path) == TEXT

    def test_a_file_that_is_compressed_itself_stays_so(self, tmp_path: Path) -> None:
        packed = gzip.compress(TEXT)
        put(tmp_path, "images.gz", packed)
        assert obtain(described(packed, name="images.gz"), tmp_path) == packed

    def test_the_environment_names_the_folder_and_an_argument_overrides_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(tmp_path / "a", "words.txt", TEXT)
        monkeypatch.setenv(DATA_DIR, str(tmp_path / "a"))
        assert obtain(described(TEXT), None) == TEXT
        with pytest.raises(ExperimentError, match="is missing"):
            obtain(described(TEXT), tmp_path / "b")

    def test_what_is_missing_is_named_with_its_sources_and_its_place(self, tmp_path: Path) -> None:
        file = described(TEXT, "https://one.example/words.txt", "https://two.example/words.txt")
        with pytest.raises(ExperimentError) as raised:
            obtain(file, tmp_path)
        message = str(raised.value)
        for part in [
            "set/words.txt is missing",
            *file.urls,
            str(tmp_path / "set" / "words.txt"),
            file.sha256,
            DATA_DIR,
        ]:
            assert part in message
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("name", "pack"), [("words.txt", bytes), ("words.txt.gz", gzip.compress)])
    def test_another_content_is_refused_with_both_checksums_and_left_alone(
        self, tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
    ) -> None:
        other = TEXT + b"more"
        path = put(tmp_path, name, pack(other))
        before = path.read_bytes()
        file = described(TEXT, "https://one.example/words.txt")
        with pytest.raises(ExperimentError) as raised:
            obtain(file, tmp_path)
        for part in [str(path), file.sha256, hashlib.sha256(other).hexdigest()]:
            assert part in str(raised.value)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("cut", [3, 20])
    def test_a_damaged_compressed_file_is_refused_by_name(self, tmp_path: Path, cut: int) -> None:
        path = put(tmp_path, "words.txt.gz", gzip.compress(TEXT)[:-cut])
        with pytest.raises(ExperimentError, match=r"words.txt.gz cannot be read: .*left as it is"):
            obtain(described(TEXT), tmp_path)
        assert path.exists()


class Server:
    """A web server on this machine that counts the requests for each name."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.cut: set[str] = set()
        """Pages whose connection breaks half-way."""
        self.requested: list[str] = []
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path[1:]
                site.requested.append(name)
                content = site.pages.get(name)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if name in site.cut else content)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/{name}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running one, with pooch's own messages out of the way."""
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    logging.getLogger("pooch").setLevel(logging.CRITICAL)
    site = Server()
    thread = threading.Thread(target=site.http.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.http.shutdown()
    thread.join()
    site.http.server_close()


class TestDownload:
    """Without a folder a file is downloaded once, from the first place that has the right one."""

    def test_once(self, server: Server, tmp_path: Path) -> None:
        server.pages["words.txt"] = TEXT
        file = described(TEXT, server.url("words.txt"))
        assert obtain(file, None) == obtain(file, None) == TEXT
        assert server.requested == ["words.txt"]
        assert (tmp_path / "cache" / "atn" / "set" / "words.txt").read_bytes() == TEXT

    def test_from_the_next_place_if_one_has_none_or_another_content(self, server: Server) -> None:
        server.pages |= {"old.txt": TEXT + b"more", "words.txt": TEXT}
        file = described(TEXT, *(server.url(name) for name in ("gone.txt", "old.txt", "words.txt", "unused.txt")))
        assert obtain(file, None) == TEXT
        assert server.requested == ["gone.txt", "old.txt", "words.txt"]

    def test_a_broken_download_leaves_nothing_behind(self, server: Server, tmp_path: Path) -> None:
        server.pages["words.txt"] = TEXT * 1000
        server.cut.add("words.txt")
        with pytest.raises(ExperimentError, match=r"set/words.txt is missing: fetch it from"):
            obtain(described(TEXT * 1000, server.url("words.txt")), None)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_nothing_downloaded_is_what_the_error_says(self, server: Server) -> None:
        file = described(TEXT, server.url("gone.txt"))
        with pytest.raises(ExperimentError, match=r"is missing: fetch it from .*gone.txt: 404"):
            obtain(file, None)

    def test_a_spoiled_cache_is_refused_and_left_alone(self, server: Server, tmp_path: Path) -> None:
        server.pages["words.txt"] = TEXT
        path = put(tmp_path / "cache" / "atn", "words.txt", b"spoiled")
        with pytest.raises(ExperimentError, match="expected"):
            obtain(described(TEXT, server.url("words.txt")), None)
        assert path.read_bytes() == b"spoiled"
        assert server.requested == []

    def test_a_folder_that_is_given_is_not_downloaded_to(self, server: Server, tmp_path: Path) -> None:
        server.pages["words.txt"] = TEXT
        with pytest.raises(ExperimentError, match="is missing"):
            obtain(described(TEXT, server.url("words.txt")), tmp_path)
        assert server.requested == []


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """The array as a gzipped IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


class TestImages:
    """IDX files."""

    PIXELS = np.arange(2 * 28 * 28, dtype=np.uint16).astype(np.uint8).reshape(2, 28, 28)
    LABELS = np.array([7, 3], np.uint8)

    def test_images_and_labels_are_read(self, tmp_path: Path) -> None:
        images, labels = idx(self.PIXELS), idx(self.LABELS)
        put(tmp_path, "images.gz", images)
        put(tmp_path, "labels.gz", labels)
        files = ImageFiles(described(images, name="images.gz"), described(labels, name="labels.gz"), 2)
        read = read_images(files, tmp_path)
        assert np.array_equal(read.pixels, self.PIXELS)
        assert read.labels.tolist() == [7, 3]

    @pytest.mark.parametrize(
        ("content", "shape", "message"),
        [
            (idx(LABELS), (2, 28, 28), "begins with 00000801; .* 00000803"),
            (gzip.compress(b""), (2,), "begins with ;"),
            (idx(LABELS), (3,), r"2 bytes of shape \(2,\); it must have shape \(3,\)"),
            (gzip.compress(gzip.decompress(idx(LABELS)) + b"?"), (2,), r"3 bytes of shape \(2,\)"),
        ],
        # Named: a compressed file holds the time, and the workers of pytest-xdist must agree on names.
        ids=["another type", "empty", "another length", "one byte too many"],
    )
    def test_another_type_or_shape_is_refused(self, content: bytes, shape: tuple[int, ...], message: str) -> None:
        with pytest.raises(ExperimentError, match=message):
            parse_idx(described(content), content, shape)


class TestText:
    """Words, vocabularies, columns."""

    def test_a_line_is_its_words_and_an_end(self) -> None:
        assert list(tokens("a  b \n\n c")) == ["a", "b", "<eos>", "<eos>", "c", "<eos>"]

    def test_only_newlines_end_a_line(self) -> None:
        assert list(tokens("a\u2028b\x0cc\n")) == ["a", "b", "c", "<eos>"]

    def test_words_are_numbered_as_they_appear(self) -> None:
        vocabulary = Vocabulary("b a b\n")
        assert vocabulary.words == ("b", "a", "<eos>")
        assert vocabulary.numbers("a b", "somewhere").tolist() == [1, 0, 2]

    def test_an_unknown_word_is_refused_by_name(self) -> None:
        with pytest.raises(ExperimentError, match=r"valid.txt has the word 'c', which the training text does not have"):
            Vocabulary("a b").numbers("a c", "valid.txt")

    def test_columns_follow_each_other_and_the_rest_is_left_out(self) -> None:
        assert columns(np.arange(11), 3).tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]

    def test_fewer_tokens_than_two_rows_are_refused(self) -> None:
        with pytest.raises(ExperimentError, match="5 tokens; it must have at least 6 for 3 columns"):
            columns(np.arange(5), 3)

    def test_a_corpus_has_one_vocabulary(self) -> None:
        corpus = corpus_of({"train": "a b\n", "validation": "b\n", "test": "a\n"})
        assert {split: corpus.tokens[split].tolist() for split in corpus.tokens} == {
            "train": [0, 1, 2],
            "validation": [1, 2],
            "test": [0, 2],
        }
        assert corpus.vocabulary == 3


class TestCharacters:
    """The character files are the word files, letter by letter."""

    CHARACTERS = b"t h e _ c a t _ s a t \n o n _ < u n k > _ m a t s \n "

    def files(self, words: bytes = TEXT, characters: bytes = CHARACTERS) -> penn.PennFiles:
        return penn.PennFiles(described(words), described(characters, name="letters.txt"))

    def test_the_rule(self) -> None:
        assert as_characters(TEXT) == self.CHARACTERS

    def test_they_are_derived_where_only_the_words_are_there(self, tmp_path: Path) -> None:
        put(tmp_path, "words.txt.gz", gzip.compress(TEXT))
        assert read_characters(self.files(), tmp_path) == self.CHARACTERS.decode()

    def test_their_own_file_is_preferred(self, tmp_path: Path) -> None:
        put(tmp_path, "letters.txt", b"a _ b \n ")
        assert read_characters(self.files(characters=b"a _ b \n "), tmp_path) == "a _ b \n "

    def test_what_was_derived_is_checked(self, tmp_path: Path) -> None:
        put(tmp_path, "words.txt", TEXT)
        with pytest.raises(ExperimentError, match=r"letters.txt derived from set/words.txt .* expected"):
            read_characters(self.files(characters=b"other"), tmp_path)

    def test_without_either_the_words_are_asked_for(self, tmp_path: Path) -> None:
        with pytest.raises(ExperimentError, match=r"set/words.txt is missing"):
            read_characters(self.files(), tmp_path)


class TestGenerated:
    """Data sets that need no data."""

    def test_images_are_the_same_for_a_seed_and_tell_their_label(self) -> None:
        images = generated_images(50, 3)
        assert np.array_equal(images.pixels, generated_images(50, 3).pixels)
        assert not np.array_equal(images.pixels, generated_images(50, 4).pixels)
        rows = images.pixels.max(2).argmax(1)
        assert ((rows - 4) // 2).tolist() == images.labels.tolist()

    def test_tokens_are_mostly_the_next_one(self) -> None:
        made = generated_tokens(4000, 7, 3)
        assert set(made.tolist()) == set(range(7))
        follows = float(np.mean((made[1:] - made[:-1]) % 7 == 1))
        assert abs(follows - (0.75 + 0.25 / 7)) < 0.03


@pytest.mark.data
class TestReal:
    """The real files, in the folder that ``ATN_DATA_DIR`` names."""

    @pytest.mark.parametrize(
        ("split", "first"), [("train", [5, 0, 4, 1, 9, 2, 1, 3]), ("validation", [7, 2, 1, 0, 4, 1, 4, 9])]
    )
    def test_mnist(self, split: str, first: list[int]) -> None:
        files = {str(name): files for name, files in MNIST.items()}[split]
        images = read_images(files, None)
        assert images.labels[:8].tolist() == first
        assert (images.pixels.min(), images.pixels.max()) == (0, 255)
        assert set(images.labels.tolist()) == set(range(10))

    def test_penn_treebank_by_characters(self) -> None:
        corpus = penn.character_corpus(None)
        sizes = {split: len(numbers) for split, numbers in corpus.tokens.items()}
        assert sizes == {"train": 5_017_483, "validation": 393_043, "test": 442_424}
        assert corpus.vocabulary == 50

    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    def test_the_characters_are_those_of_the_words(self, split: str, tmp_path: Path) -> None:
        files = {str(name): files for name, files in penn.PENN.items()}[split]
        words = obtain(files.words, None)
        path = tmp_path / files.words.folder / files.words.name
        path.parent.mkdir()
        path.write_bytes(words)
        assert read_characters(files, tmp_path) == read_characters(files, None)

    def test_wikitext_2(self) -> None:
        corpus = wikitext.word_corpus(None)
        sizes = {split: len(numbers) for split, numbers in corpus.tokens.items()}
        assert sizes == {"train": 2_088_628, "validation": 217_646, "test": 245_569}
        assert corpus.vocabulary == 33_278

    @pytest.mark.parametrize(
        ("settings", "read"),
        [
            (char_ptb.PRESETS["paper"], penn.character_corpus),
            (char_ptb.PRESETS["released"], penn.character_corpus),
            (wikitext2.PRESETS["paper"], wikitext.word_corpus),
        ],
    )
    def test_presets_validate_once_an_epoch(self, settings: LanguageSettings, read: Callable[[None], Corpus]) -> None:
        windows = Windows(settings, len(columns(read(None).tokens["train"], settings.batch)))
        epochs = 10
        steps = next(step for step in itertools.count(1) if windows.of(step + 1).epoch == epochs)
        # Windows of random lengths: an epoch is never exactly as long as the next.
        assert steps / epochs == pytest.approx(settings.validate_every, rel=0.01 if settings.vary_bptt else 0)
        assert settings.steps % settings.validate_every == 0
