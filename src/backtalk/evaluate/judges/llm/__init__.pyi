from .judge import LlmJudge as LlmJudge
from .judge import LlmReward as LlmReward
from .options import JudgeOptions as JudgeOptions
from .rubric import Criterion as Criterion
from .rubric import Rubric as Rubric
from .rubric import read_rubric as read_rubric
from .spec import LlmJudgeSpec as LlmJudgeSpec
from .spec import load_llm_judge as load_llm_judge
