"""The pages. The task is sent once the order is in the database: a worker may be quicker than the commit."""

from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shop.models import Order
from shop.tasks import pay


@csrf_exempt
@require_POST
@transaction.atomic
def order(request):
    placed = Order.objects.create(item=request.POST["item"])
    pay.delay_on_commit(placed.pk)
    return JsonResponse({"number": placed.pk}, status=202)


def look(request, number):  # noqa: ARG001 - Django gives it
    found = get_object_or_404(Order, pk=number)
    return JsonResponse({"number": number, "item": found.item, "state": found.state})
