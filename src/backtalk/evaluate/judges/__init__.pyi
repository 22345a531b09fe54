from .by_name import get_judge as get_judge
from .by_name import judge_names as judge_names
from .info import JudgeInfo as JudgeInfo
from .info import describe_judge as describe_judge
from .protocol import CheckedJudge as CheckedJudge
from .protocol import Judge as Judge
from .protocol import PairwiseJudge as PairwiseJudge
