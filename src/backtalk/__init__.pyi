from .errors import BacktalkError as BacktalkError
from .evaluate.compare import choose_best as choose_best
from .evaluate.judges import named_judge as named_judge
from .evaluate.leaderboard import leaderboard as leaderboard
from .feedback import (
    Annotator as Annotator,
)
from .feedback import (
    Choice as Choice,
)
from .feedback import (
    Critique as Critique,
)
from .feedback import (
    Demonstration as Demonstration,
)
from .feedback import (
    Edit as Edit,
)
from .feedback import (
    FollowUp as FollowUp,
)
from .feedback import (
    Instruction as Instruction,
)
from .feedback import (
    Interaction as Interaction,
)
from .feedback import (
    Label as Label,
)
from .feedback import (
    Message as Message,
)
from .feedback import (
    Outcome as Outcome,
)
from .feedback import (
    Preference as Preference,
)
from .feedback import (
    Ranking as Ranking,
)
from .feedback import (
    Rating as Rating,
)
from .feedback import (
    Response as Response,
)
from .feedback import (
    Spans as Spans,
)
from .feedback import (
    Steps as Steps,
)
from .feedback.formats import export as export
from .learn import (
    TrainingSet as TrainingSet,
)
from .learn import (
    find_method as find_method,
)
from .learn import (
    what_can_run as what_can_run,
)
from .models import Budget as Budget
from .policy import (
    Policy as Policy,
)
from .policy import (
    evaluation_report as evaluation_report,
)
from .policy import (
    load_policy as load_policy,
)
from .policy import (
    promote as promote,
)
from .policy import (
    rollback as rollback,
)
from .run import Run as Run
from .store import Store as Store
from .store.ingest import ingest as ingest
